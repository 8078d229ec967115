"""Print requirements that `pyproject.toml` names, one a line, for `pip install -r`.

    python tools/requires.py [EXTRA]

Those of a build; the panel is built, linted and tested in the project's own environment, with the same tools that an
isolated build gets, so there is one list of them. With EXTRA those of the project and of that extra, which can so be
installed while the panel is being built.
"""

import re
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib


def of_extra(project: dict[str, Any], extra: str) -> list[str]:
    """Return an extra's requirements, with those of the extras that it names in place of their names."""
    found: list[str] = []
    for each in project["optional-dependencies"][extra]:
        own = re.fullmatch(rf"{project['name']}\[(.+)\]", each)
        found += [line for name in own[1].split(",") for line in of_extra(project, name)] if own else [each]
    return found


everything = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
if len(sys.argv) > 1:
    wanted = everything["project"]["dependencies"] + of_extra(everything["project"], sys.argv[1])
else:
    wanted = everything["build-system"]["requires"]
print("\n".join(wanted))
