"""``ray.util.state``: what was printed, what went wrong, and which runtime environments there are."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.api.session import session_engine
from jupyter_ray.bell import Mailbox
from jupyter_ray.util import state
from jupyter_ray.util.state import logs
from jupyter_ray.util.state.exception import RayStateApiException
from tests.contract.helpers import eventually

pytestmark = [
    pytest.mark.usefixtures("cluster"),
    pytest.mark.local_only("Ray keeps logs and events in files, which its dashboard reads"),
]


@ray.remote
def prints(text: str) -> int:
    print(text)
    print(f"{text} in red", file=sys.stderr)
    return os.getpid()


@ray.remote
class Talker:
    def say(self, text: str) -> int:
        print(text)
        return os.getpid()

    def die(self) -> None:
        os._exit(1)


def log(**whose: Any) -> str:
    return "".join(state.get_log(**whose))


def test_what_a_task_printed() -> None:
    ref = prints.remote("one")
    pid, task = ray.get(ref), ref.task_id().hex()
    assert eventually(lambda: log(task_id=task)) == "one\n"
    assert eventually(lambda: log(task_id=task, suffix="err")) == "one in red\n"
    assert b"one\n" in b"".join(state.get_log(pid=pid, encoding=None))


def test_whose_log_may_be_said_with_a_reference_and_with_what_names_an_actor_or_a_process() -> None:
    ref = prints.remote("by reference")
    pid = ray.get(ref)
    talker: Any = Talker.remote()  # type: ignore[attr-defined]
    said = talker.say.remote("by actor")
    ray.get(said)
    for task in (ref, ref.task_id()):
        assert eventually(partial(log, task_id=task)) == "by reference\n"
    assert "by reference\n" in log(pid=str(pid))
    assert eventually(partial(log, actor_id=talker._actor_id)) == "by actor\n" == log(task_id=said)
    assert state.get_actor(talker._actor_id) == state.get_actor(talker._actor_id.hex())
    assert state.get_task(said.task_id()) == state.get_task(said)
    assert [row.object_id for row in state.get_objects(said)] == [said.hex()]
    [row] = state.list_actors(filters=[("actor_id", "=", talker._actor_id)])
    assert row.actor_id == talker._actor_id.hex()


def test_what_each_attempt_printed(tmp_path: Path) -> None:
    @ray.remote(max_retries=2, retry_exceptions=True)
    def fails() -> None:
        print("attempt", len(os.listdir(tmp_path)))
        tempfile.mkstemp(dir=tmp_path)
        raise KeyError

    ref = fails.remote()
    with pytest.raises(KeyError):
        ray.get(ref)
    task = ref.task_id().hex()
    for attempt in range(3):
        assert eventually(partial(log, task_id=task, attempt_number=attempt)) == f"attempt {attempt}\n"
    with pytest.raises(RayStateApiException, match="attempt_number 3"):
        log(task_id=task, attempt_number=3)


def test_the_end_of_what_an_actor_printed() -> None:
    talker: Any = Talker.remote()  # type: ignore[attr-defined]
    ray.get([talker.say.remote(f"\x1b[31mline {i}\x1b[0m") for i in range(5)])
    actor = talker._actor_id.hex()
    eventually(lambda: log(actor_id=actor).count("\n") == 5)
    assert log(actor_id=actor, tail=2, filter_ansi_code=True) == "line 3\nline 4\n"
    assert log(actor_id=actor, tail=0) == ""


def test_logs_have_names() -> None:
    pid = ray.get(prints.remote("named"))
    names = state.list_logs(glob_filter=f"*-{pid}.out")
    assert list(names) == ["worker_out"]
    [name] = names["worker_out"]
    assert "named\n" in eventually(lambda: log(filename=name))
    assert set(state.list_logs()) == {"worker_out", "worker_err"}
    assert state.list_logs(glob_filter="raylet*") == {}
    assert [state.list_logs()[kind] for kind in ("raylet", "gcs_server", "dashboard", "internal")] == [[]] * 4
    with pytest.raises(KeyError):
        state.list_logs()["nonsense"]


def test_a_log_is_followed() -> None:
    talker: Any = Talker.remote()  # type: ignore[attr-defined]
    ray.get(talker.say.remote("begins"))
    pieces = state.get_log(actor_id=talker._actor_id.hex(), follow=True)
    heard: list[str] = []
    listener = threading.Thread(target=lambda: heard.extend(pieces), daemon=True)
    listener.start()
    eventually(lambda: "begins\n" in "".join(heard))
    ray.get(talker.say.remote("goes on"))
    eventually(lambda: "goes on\n" in "".join(heard))
    ray.shutdown()
    listener.join(10)
    assert not listener.is_alive()
    ray.init(num_cpus=2)


def test_who_follows_a_log_keeps_nothing_but_what_it_is_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a follower that nobody asked for its next piece, every event of the session was kept."""
    kept: list[Any] = []

    class Kept(Mailbox[Any]):
        def put(self, item: Any) -> None:
            kept.append(item)
            super().put(item)

    monkeypatch.setattr(logs, "Mailbox", Kept)
    talker: Any = Talker.remote()  # type: ignore[attr-defined]
    ray.get(talker.say.remote("begins"))
    pieces = state.get_log(actor_id=talker._actor_id.hex(), follow=True)
    assert "begins\n" in next(pieces)
    session_engine().flush_events()
    before = len(kept)
    ray.get([prints.remote("elsewhere") for _ in range(20)])
    ray.get(talker.say.remote("goes on"))
    assert next(pieces) == "goes on\n"
    assert [text for _, text in kept[before:]] == ["goes on\n"]
    pieces.close()  # type: ignore[attr-defined]


def test_no_such_log() -> None:
    with pytest.raises(ValueError, match="None of actor_id, task_id, pid or filename"):
        log()
    with pytest.raises(ValueError, match="None of actor_id, task_id, pid or filename"):
        log(pid=1, task_id="00")
    with pytest.raises(ValueError, match="suffix"):
        log(pid=os.getpid(), suffix="log")
    with pytest.raises(RayStateApiException, match=r"no raylet .*list_logs\(\) .*get_log\(task_id="):
        log(filename="raylet.out")
    with pytest.raises(ValueError, match="no submitted jobs"):
        log(submission_id="raysubmit_1")
    with pytest.raises(RayStateApiException, match="No row of tasks"):
        log(task_id="00" * 24)


def test_what_went_wrong() -> None:
    talker: Any = Talker.remote()  # type: ignore[attr-defined]
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(talker.die.remote())
    found = eventually(lambda: state.list_cluster_events(filters=[("source_type", "=", "ACTOR")]))
    assert talker._actor_id.hex() in found[-1].message
    assert found[-1].severity == "WARNING"
    assert any("WORKER" in event.source_type for event in state.list_cluster_events())


def test_runtime_environments() -> None:
    env = {"env_vars": {"COLOUR": "red"}}
    talker: Any = Talker.options(runtime_env=env).remote()  # type: ignore[attr-defined]
    ray.get(talker.say.remote("here"))
    [row] = [row for row in state.list_runtime_envs(detail=True) if "COLOUR" in str(row.runtime_env)]
    assert row.runtime_env["env_vars"] == {"COLOUR": "red"}
    assert (row.success, row.ref_cnt) == (True, 1)
