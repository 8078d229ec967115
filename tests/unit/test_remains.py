"""What dead sessions have left is removed, and nothing else."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_ray import config
from jupyter_ray.local.server import remains

pytestmark = pytest.mark.skipif(not config.IN_MEMORY.is_dir(), reason="this system has no such folder in memory")

LONG_AGO = time.time() - 3600


class Session:
    """The folders of one session, whose processes there never were."""

    def __init__(self, root: Path) -> None:
        self.name = os.urandom(6).hex()
        self.folder = config.session_folder(self.name, str(root))
        self.memory = config.shared_memory_folder(self.name)
        self.folder.mkdir(0o700)
        self.memory.mkdir(0o700)
        (self.memory / "segment").write_bytes(b"value")
        self.age()

    def age(self) -> None:
        """Make the folder an old one."""
        os.utime(self.folder, (LONG_AGO, LONG_AGO))

    def listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder / config.RUNTIME_SOCKET))
        listener.listen(1)
        self.age()
        return listener

    @property
    def is_there(self) -> bool:
        assert self.folder.exists() == self.memory.exists()
        return self.folder.exists()


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder for sessions whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="jr-") as folder:
        yield Path(folder)


@pytest.fixture
def session(root: Path) -> Iterator[Session]:
    session = Session(root)
    yield session
    config.remove_folders(session.name)


def test_one_that_nobody_answers_for(session: Session, root: Path) -> None:
    session.listen().close()
    assert remains.remove(root) == [session.name]
    assert not session.is_there
    assert remains.remove(root) == []


def test_one_that_was_never_begun(session: Session, root: Path) -> None:
    (session.memory / "segment").unlink()
    assert remains.remove(root) == [session.name]
    assert not session.is_there


def test_one_that_lives_stays_also_if_it_has_no_time_to_answer(session: Session, root: Path) -> None:
    with session.listen(), socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for peer in (first, second):  # So many are let wait.
            peer.connect(str(session.folder / config.RUNTIME_SOCKET))
        assert remains.remove(root) == []
        assert remains.remove(root) == []
        assert session.is_there


def test_one_whose_socket_somebody_has_removed_stays(session: Session, root: Path) -> None:
    with session.listen():
        (session.folder / config.RUNTIME_SOCKET).unlink()
        session.age()
        assert remains.remove(root) == []
        assert session.is_there


def test_a_young_one_stays(session: Session, root: Path) -> None:
    os.utime(session.folder)
    assert remains.remove(root) == []
    assert session.is_there


def test_one_of_another_machine_that_shares_the_folder_stays(session: Session, root: Path) -> None:
    (session.memory / "segment").unlink()
    session.memory.rmdir()
    assert remains.remove(root) == []
    assert session.folder.exists()


def test_what_only_looks_like_one_stays(session: Session, root: Path) -> None:
    prefix = config.session_prefix()
    other = root / f"{prefix}notes"
    other.mkdir()
    link = root / f"{prefix}{os.urandom(6).hex()}"
    link.symlink_to(other)
    session.listen().close()
    for path in (other, link):
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    assert remains.remove(root) == [session.name]
    assert other.exists()
    assert link.is_symlink()
