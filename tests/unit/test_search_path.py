"""A search path follows another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_ray.local.search_path import followed, located

ENTRIES = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@pytest.mark.parametrize(
    ("path", "before", "after", "expected"),
    [
        ("ab", "ab", "xab", "xab"),
        ("ab", "ab", "abx", "abx"),
        ("ab", "ab", "axb", "axb"),
        ("ab", "ab", "xyab", "xyab"),
        ("eab", "ab", "xab", "exab"),
        ("abt", "ab", "abx", "abtx"),
        ("eabt", "ab", "b", "ebt"),
        ("ab", "ab", "ba", "ab"),
        ("", "ab", "abx", "abx"),
    ],
    ids=["first", "last", "between", "two", "after more", "behind more", "gone", "moved", "empty"],
)
def test_examples(path: str, before: str, after: str, expected: str) -> None:
    """`e` is of a runtime environment, `t` was added by a task."""
    assert "".join(followed(path, before, after)) == expected


@settings(deadline=None)
@given(ENTRIES, ENTRIES, ENTRIES)
def test_what_the_program_finds_is_found_and_nothing_else_is_lost(
    path: list[str], before: list[str], after: list[str]
) -> None:
    changed = followed(path, before, after)
    assert len(set(changed)) == len(changed)
    assert set(changed) == set(path) - (set(before) - set(after)) | set(after)
    kept = [entry for entry in path if entry in changed]
    assert [entry for entry in changed if entry in path] == kept


def test_a_path_that_is_the_same_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located(["", "sub/../lib", os.sep, 7]) == [str(tmp_path), str(tmp_path / "lib"), os.sep], (
        "Python looks over 7"
    )
