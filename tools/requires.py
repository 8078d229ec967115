"""Print what `pyproject.toml` names as build requirements, one a line, for `pip install -r`.

The panel is built, linted and tested in the project's own environment, with the same tools that an isolated build
gets; so there is one list of them.
"""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
print("\n".join(project["build-system"]["requires"]))
