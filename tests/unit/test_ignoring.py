"""Which files of a folder a runtime environment leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_ray.local.engine.ignoring import Ignoring, Rules


@pytest.mark.parametrize(
    ("pattern", "out", "kept"),
    [
        ("a", ["a", "b/a"], ["ab", "b"]),
        ("/a", ["a"], ["b/a"]),
        ("b/a", ["b/a"], ["a", "c/b/a"]),
        ("*.py", ["x.py", "d/y.py"], ["x.pyc"]),
        ("d/*.py", ["d/x.py"], ["x.py", "d/e/x.py"]),
        ("**/x", ["x", "d/e/x"], ["xx"]),
        ("d/**", ["d/x", "d/e/x"], ["d", "x"]),
        ("d/**/x", ["d/x", "d/e/f/x"], ["x", "d/y"]),
        ("t[12]?", ["t1a", "d/t2b"], ["t3a", "t1"]),
        ("t[!1]", ["t2"], ["t1"]),
        (r"\#a", ["#a"], ["a"]),
        ("a ", ["a"], ["a "]),
    ],
)
def test_patterns(pattern: str, out: list[str], kept: list[str]) -> None:
    rules = Rules([pattern])
    assert all(rules.exclude(path, False) for path in out)
    assert not any(rules.exclude(path, False) for path in kept)


def test_the_last_pattern_that_fits_decides() -> None:
    rules = Rules(["# comment", "", "*.txt", "!keep.txt", "logs/"])
    assert [rules.exclude(path, False) for path in ("a.txt", "keep.txt", "logs")] == [True, False, False]
    assert rules.exclude("logs", True), "only a folder of this name"
    rules = Rules(["d/**", "!d/keep", "\\", "[z-a]"])
    assert [rules.exclude("d", True), rules.exclude("d/x", False), rules.exclude("d/keep", False)] == [
        False,
        True,
        False,
    ]


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "b.txt", "data/x.bin", "data/y.py", "sub/z.py", "sub/deep/q.txt", ".git/config"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / ".gitignore").write_text("data/\n")
    (tmp_path / "sub" / ".rayignore").write_text("/deep\n")

    def kept(*excludes: str) -> set[str]:
        found = Ignoring(tmp_path, excludes).files()
        return {path.relative_to(tmp_path).as_posix() for path in found if path.name[0] != "."}

    assert kept() == {"a.py", "b.txt", "sub/z.py"}
    assert kept("*.txt", "sub") == {"a.py"}
    monkeypatch.setenv("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")
    assert kept() == {"a.py", "b.txt", "sub/z.py", "data/x.bin", "data/y.py"}
    assert ".git/config" not in {path.relative_to(tmp_path).as_posix() for path in Ignoring(tmp_path).files()}
