"""Which files of a folder a runtime environment leaves out: patterns as git knows them.

They come from ``excludes``, and from the files ``.gitignore`` and ``.rayignore`` of the folder and of those in it. A
folder that is left out is not looked into. Sources: git's ``gitignore`` documentation, Ray's ``runtime_env``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

FOLDERS = (".git", "__pycache__", ".ipynb_checkpoints", "node_modules", ".venv", "venv")
"""Never wanted, and seldom in a ``.gitignore``."""


class Rules:
    """The patterns of one file or list; paths are relative to the folder that they are for."""

    def __init__(self, lines: Iterable[str]) -> None:
        patterns = [line for line in lines if _is_pattern(line)]
        self._files = GitIgnoreSpec.from_lines(patterns)
        # "d/**" is what is in d, not d itself: something in there may be wanted nevertheless.
        self._folders = GitIgnoreSpec.from_lines(line for line in patterns if not line.rstrip().endswith("/**"))

    def exclude(self, path: str, is_folder: bool) -> bool:
        """Tell whether a path is left out."""
        return self._folders.match_file(f"{path}/") if is_folder else self._files.match_file(path)

    def __repr__(self) -> str:
        return f"<Rules: {len(self._files)} patterns>"


def _is_pattern(line: str) -> bool:
    """Tell whether a line can be read; git passes over one that cannot."""
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


class Ignoring:
    """What is left out of the folder `root`.

    Parameters
    ----------
    root
        The folder.
    excludes
        Patterns.
    """

    def __init__(self, root: Path, excludes: Iterable[str] = ()) -> None:
        self.root = root
        given = os.environ.get("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES")
        folders = FOLDERS if given is None else [each.strip() for each in given.split(",") if each.strip()]
        self._folders = frozenset(folders)
        heeds_git = os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") != "1"
        self._files = [".gitignore", ".rayignore"] if heeds_git else [".rayignore"]
        self._excludes = Rules(excludes)
        self._rules: dict[Path, list[tuple[Path, Rules]]] = {}

    def names(self, folder: str, names: list[str]) -> list[str]:
        """Return those of `names` in `folder` that are left out: what `shutil.copytree` asks."""
        return [name for name in names if self._is_out(Path(folder), name)]

    def files(self) -> Iterator[Path]:
        """Return the files that are kept, in a fixed order."""
        for folder, folders, files in os.walk(self.root):
            out = set(self.names(folder, [*folders, *files]))
            folders[:] = sorted(name for name in folders if name not in out)
            yield from (Path(folder, name) for name in sorted(files) if name not in out)

    def _is_out(self, folder: Path, name: str) -> bool:
        path = folder / name
        is_folder = path.is_dir()
        if is_folder and name in self._folders:
            return True
        rules = [(self.root, self._excludes), *self._rules_in(folder)]
        return any(each.exclude(path.relative_to(base).as_posix(), is_folder) for base, each in rules)

    def _rules_in(self, folder: Path) -> list[tuple[Path, Rules]]:
        """Return the rules of the files in `folder` and above it, up to the root."""
        known = self._rules.get(folder)
        if known is None:
            known = [] if folder == self.root else list(self._rules_in(folder.parent))
            for name in self._files:
                try:
                    known.append((folder, Rules((folder / name).read_text("utf-8", "replace").splitlines())))
                except OSError:  # There is none.
                    continue
            self._rules[folder] = known
        return known

    def __repr__(self) -> str:
        return f"<Ignoring in {self.root}>"
