"""Where the files of a session are."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from jupyter_ray import config


@pytest.mark.parametrize("writable", [True, False])
def test_values_are_kept_on_disk_where_memory_offers_no_folder(monkeypatch: pytest.MonkeyPatch, writable: bool) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: writable)
    monkeypatch.setattr(Path, "is_dir", lambda path: True)
    assert config.shared_memory_folder("s").parent == Path("/dev/shm" if writable else tempfile.gettempdir())
