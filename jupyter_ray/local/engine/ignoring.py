"""Which files of a folder a runtime environment leaves out: patterns as git knows them.

They come from ``excludes``, and from the files ``.gitignore`` and ``.rayignore`` of the folder and of those in it. A
folder that is left out is not looked into. Sources: git's ``gitignore`` documentation, Ray's ``runtime_env``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

FOLDERS = (".git", "__pycache__", ".ipynb_checkpoints", "node_modules", ".venv", "venv")
"""Never wanted, and seldom in a ``.gitignore``."""

_TOKEN = re.compile(r"/\*\*/|^\*\*/|/\*\*$|\*+|\?|\[[!^]?\]?[^\]]*\]|\\.|.", re.DOTALL)


class _Pattern(NamedTuple):
    fits: re.Pattern[str]
    excludes: bool
    folders_only: bool


class Rules:
    """The patterns of one file or list; paths are relative to the folder that they are for."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns = [found for line in lines if (found := _read(line)) is not None]

    def exclude(self, path: str, is_folder: bool) -> bool:
        """Tell whether a path is left out: the last pattern that fits decides."""
        for pattern in reversed(self._patterns):
            if (is_folder or not pattern.folders_only) and pattern.fits.fullmatch(path):
                return pattern.excludes
        return False

    def __repr__(self) -> str:
        return f"<Rules: {len(self._patterns)} patterns>"


def _read(line: str) -> _Pattern | None:
    text = re.sub(r"(?<!\\)\s+$", "", line.rstrip("\n"))
    if not text or text.startswith("#"):
        return None
    excludes = not text.startswith("!")
    text = text.removeprefix("!")
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    anchored = "/" in text
    body = "".join(map(_translate, _TOKEN.findall(text.removeprefix("/"))))
    return _Pattern(re.compile(body if anchored else f"(?:.*/)?{body}", re.DOTALL), excludes, folders_only)


def _translate(token: str) -> str:
    if token == "/**/":
        return "/(?:.*/)?"
    if token == "**/":
        return "(?:.*/)?"
    if token == "/**":
        return "/.*"
    if token.startswith("*"):
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if token.startswith("[") and len(token) > 2:
        inside = token[1:-1].replace("\\", "\\\\")
        return f"[^{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]"
    return re.escape(token[1:] if token.startswith("\\") and len(token) > 1 else token)


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
