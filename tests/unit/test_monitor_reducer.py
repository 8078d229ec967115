"""What each event does to the model, seen through the rows of the protocol."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_ray import events as ev
from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.records import Limits
from jupyter_ray.monitor.reducer import fold, set_runtime
from jupyter_ray.monitor.snapshot import describe


class Bench:
    """A model and short ways to feed it; each event is one second after the one before."""

    def __init__(self, **limits: int) -> None:
        self.model = Model(Limits(**limits))
        self.now = 0.0

    def tell(self, event: type[ev.Event], /, **fields: Any) -> None:
        self.now += 1
        fold(self.model, [event(at=self.now, **fields)])

    def ready(self, gpus: tuple[str, ...] = (), **resources: float) -> None:
        self.tell(ev.RuntimeReady, pid=1, engine="local", resources=resources or {"CPU": 4.0}, gpus=list(gpus))

    def submit(self, task: str, **fields: Any) -> None:
        made: dict[str, Any] = {
            "name": "f",
            "kind": "task",
            "parent": None,
            "dependencies": [],
            "returns": [f"{task}.0"],
            "demand": {"CPU": 1.0},
        }
        self.tell(ev.TaskSubmitted, task=task, **{**made, **fields})

    def start(
        self, task: str, worker: str = "w", *, gpus: tuple[str, ...] = (), attempt: int = 0, **held: float
    ) -> None:
        self.tell(ev.TaskStarted, task=task, worker=worker, held=held, gpus=list(gpus), attempt=attempt)

    def finish(self, task: str) -> None:
        self.tell(ev.TaskFinished, task=task)

    def actor(self, actor: str = "a", worker: str = "aw", **held: float) -> None:
        self.tell(ev.ActorCreated, actor=actor, class_name="Counter", name=None, task=f"{actor}.init", parent=None)
        self.tell(ev.ActorAlive, actor=actor, worker=worker, pid=9, held=held)

    def rows(self, kind: str) -> dict[str, Any]:
        return {row["id"]: row for row in describe(self.model)[kind]}

    def row(self, kind: str, key: str) -> Any:
        return self.rows(kind)[key]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_life_of_a_task(bench: Bench) -> None:
    bench.submit("a")
    bench.submit("b", dependencies=["a.0"], cell="c1", parent="a")
    assert bench.row("tasks", "b")["state"] == "waiting"
    bench.tell(ev.TaskQueued, task="b")
    assert bench.row("tasks", "b")["state"] == "pending"
    bench.start("b", "w", CPU=1.0)
    row = bench.row("tasks", "b")
    assert (row["state"], row["worker"], row["held"], row["submitted"], row["started"]) == (
        "running",
        "w",
        {"CPU": 1.0},
        2.0,
        4.0,
    )
    bench.finish("b")
    row = bench.row("tasks", "b")
    assert (row["state"], row["held"], row["ended"], row["error"]) == ("finished", {}, 5.0, None)
    assert (row["parent"], row["cell"]) == ("a", "c1")


def test_a_failure_and_a_cancellation(bench: Bench) -> None:
    bench.submit("a")
    bench.submit("b")
    bench.tell(ev.TaskFailed, task="a", error="x" * 10_000)
    bench.tell(ev.TaskCancelled, task="b")
    assert bench.row("tasks", "a")["state"] == "failed"
    assert bench.row("tasks", "a")["error"] == "x" * 400
    assert bench.row("tasks", "b")["state"] == "cancelled"
    assert bench.row("groups", "g1")["counts"] == {"failed": 1, "cancelled": 1}


def test_only_the_first_end_counts(bench: Bench) -> None:
    bench.submit("a")
    bench.finish("a")
    bench.tell(ev.TaskFailed, task="a", error="late")
    assert bench.row("tasks", "a")["state"] == "finished"
    assert bench.row("groups", "g1")["counts"] == {"finished": 1}


def test_a_retry(bench: Bench) -> None:
    bench.ready()
    bench.submit("a")
    bench.start("a", "w1", CPU=1.0)
    bench.tell(ev.TaskRetried, task="a", attempt=1, reason="worker w1 died")
    row = bench.row("tasks", "a")
    assert (row["state"], row["attempt"], row["worker"], row["held"], row["error"]) == (
        "pending",
        1,
        None,
        {},
        "worker w1 died",
    )
    assert bench.row("resources", "CPU")["used"] == 0
    assert bench.row("workers", "w1")["state"] == "idle"
    bench.start("a", "w2", CPU=1.0, attempt=1)
    bench.finish("a")
    row = bench.row("tasks", "a")
    assert (row["attempt"], row["error"], row["worker"]) == (1, None, "w2")


def test_a_finished_task_may_run_again_to_make_its_result_anew(bench: Bench) -> None:
    bench.actor()
    bench.submit("a", kind="method", actor="a")
    bench.start("a")
    bench.finish("a")
    bench.start("a")
    assert bench.row("groups", "g1")["counts"] == {"running": 1}
    row = bench.row("actors", "a")
    assert (row["queue"], row["running"], row["finished"]) == (0, 1, 0)
    bench.finish("a")
    assert bench.row("groups", "g1")["counts"] == {"finished": 1}


def test_a_blocked_task_lends_its_cpu_and_keeps_its_gpu(bench: Bench) -> None:
    bench.ready(("0", "1"), CPU=4.0, GPU=2.0)
    bench.submit("g", name="g")
    bench.start("g", CPU=1.0, GPU=2.0, gpus=("0", "1"))
    bench.submit("f", parent="g")
    bench.tell(ev.TaskBlocked, task="g", waits_for=["f.0", "f.0", "unknown"], lent={"CPU": 1.0})
    row = bench.row("tasks", "g")
    assert (row["state"], row["held"], row["lent"], row["waits_for"]) == ("blocked", {"GPU": 2.0}, {"CPU": 1.0}, ["f"])
    assert bench.row("resources", "CPU")["lent"] == [{"id": "g", "label": "g", "amount": 1.0}]
    assert bench.row("resources", "CPU")["used"] == 0
    for gpu in ("GPU:0", "GPU:1"):
        assert bench.row("resources", gpu)["holders"] == [{"id": "g", "kind": "task", "label": "g", "amount": 1.0}]
    assert bench.row("workers", "w")["state"] == "blocked"
    bench.tell(ev.TaskBlocked, task="g", waits_for=[], lent={})  # A second of its threads waits.
    assert bench.row("tasks", "g")["lent"] == {"CPU": 1.0}
    bench.tell(ev.TaskUnblocked, task="g")
    row = bench.row("tasks", "g")
    assert (row["state"], row["held"], row["lent"], row["waits_for"]) == ("running", {"CPU": 1.0, "GPU": 2.0}, {}, [])
    assert bench.row("resources", "CPU")["used"] == 1.0
    assert bench.row("workers", "w")["state"] == "busy"


def test_fractions_of_gpus_and_other_resources(bench: Bench) -> None:
    bench.ready(("0", "1"), CPU=1.0, GPU=2.0, tpu=3.0, memory=1e9)
    bench.submit("a")
    bench.start("a", CPU=0.1, GPU=0.3333333, tpu=1.0, gpus=("1",))
    rows = bench.rows("resources")
    assert list(rows) == ["CPU", "GPU:0", "GPU:1", "memory", "tpu"]
    assert [row["kind"] for row in rows.values()] == ["CPU", "GPU", "GPU", "other", "other"]
    assert [row["used"] for row in rows.values()] == [0.1, 0.0, 0.3333, 0.0, 1.0]


def test_gpus_without_ids_are_one_row(bench: Bench) -> None:
    bench.ready(CPU=1.0, GPU=8.0)
    bench.submit("a")
    bench.start("a", GPU=2.0)
    assert bench.row("resources", "GPU") == {
        "id": "GPU",
        "name": "GPU",
        "node": None,
        "kind": "GPU",
        "total": 8.0,
        "used": 2.0,
        "holders": [{"id": "a", "kind": "task", "label": "f", "amount": 2.0}],
        "lent": [],
    }


def on_nodes(bench: Bench, *amounts: dict[str, float]) -> None:
    nodes = [ev.Node(id=f"n{number}", name=f"host {number}", resources=each) for number, each in enumerate(amounts)]
    bench.tell(ev.RuntimeReady, pid=0, engine="ray", resources={"CPU": 2.0}, gpus=[], nodes=nodes)


def test_each_node_has_its_resources(bench: Bench) -> None:
    on_nodes(bench, {"CPU": 1.0}, {"CPU": 1.0, "GPU": 2.0})
    assert bench.rows("nodes") == {"n0": {"id": "n0", "name": "host 0"}, "n1": {"id": "n1", "name": "host 1"}}
    assert list(bench.rows("resources")) == ["n0/CPU", "n1/CPU", "n1/GPU"]
    bench.tell(ev.WorkerStarted, worker="w", pid=3, node="n1")
    bench.submit("a")
    bench.start("a", CPU=1.0, GPU=0.5, gpus=("1",))
    assert [bench.row("resources", key)["used"] for key in ("n0/CPU", "n1/CPU", "n1/GPU")] == [0.0, 1.0, 0.5]
    bench.finish("a")
    assert bench.row("tasks", "a")["node"] == "n1"


def test_a_worker_may_be_told_of_after_its_task(bench: Bench) -> None:
    on_nodes(bench, {"CPU": 1.0}, {"CPU": 1.0})
    bench.submit("a")
    bench.start("a", CPU=1.0)
    bench.actor("b", CPU=1.0)
    assert bench.row("tasks", "a")["node"] is None
    bench.tell(ev.WorkerStarted, worker="w", pid=3, node="n0")
    bench.tell(ev.WorkerStarted, worker="aw", pid=3, node="n1")
    assert bench.row("tasks", "a")["node"] == "n0"
    assert bench.row("actors", "b")["node"] == "n1"
    assert [row["used"] for row in bench.rows("resources").values()] == [1.0, 1.0]


def test_nodes_come_and_go(bench: Bench) -> None:
    on_nodes(bench, {"CPU": 1.0})
    assert bench.rows("nodes") == {}  # One alone is this machine.
    assert list(bench.rows("resources")) == ["CPU"]
    nodes = [ev.Node(id=f"n{number}", name=f"host {number}", resources={"CPU": 1.0}) for number in range(4)]
    bench.tell(ev.NodesChanged, nodes=nodes[:2])
    assert list(bench.rows("resources")) == ["n0/CPU", "n1/CPU"]
    bench.model.limits = Limits(nodes=2)
    bench.tell(ev.NodesChanged, nodes=nodes)
    assert [row["name"] for row in bench.rows("nodes").values()] == ["host 0", "3 other nodes"]
    assert bench.row("resources", "other/CPU")["total"] == 3.0
    bench.tell(ev.NodesChanged, nodes=nodes[3:])
    assert list(bench.rows("resources")) == ["CPU"]
    assert bench.row("resources", "CPU")["total"] == 1.0


def test_dependencies_are_tasks(bench: Bench) -> None:
    bench.submit("a", returns=["o1", "o2"])
    bench.submit("b", dependencies=["o2", "o1", "put"])
    assert bench.row("tasks", "b")["deps"] == ["a"]
    bench.tell(ev.ObjectFreed, object="o1")
    bench.tell(ev.ObjectFreed, object="o2")
    bench.submit("c", dependencies=["o1", "o2"])
    assert bench.row("tasks", "c")["deps"] == []


def test_what_a_task_puts_is_a_dependency_but_for_its_own_children(bench: Bench) -> None:
    bench.submit("a")
    bench.tell(ev.ObjectSealed, object="o", size=1, task="a")
    bench.tell(ev.ObjectSealed, object="p", size=1, task="unknown")
    bench.submit("child", parent="a", dependencies=["o"])
    bench.submit("other", dependencies=["o", "p"])
    assert bench.row("tasks", "child")["deps"] == []
    assert bench.row("tasks", "other")["deps"] == ["a"]


def test_long_lists_are_cut(bench: Bench) -> None:
    for number in range(100):
        bench.submit(f"t{number}")
    bench.submit("sum", name="sum", dependencies=[f"t{number}.0" for number in range(100)])
    bench.start("sum")
    bench.tell(ev.TaskBlocked, task="sum", waits_for=[f"t{number}.0" for number in range(100)], lent={})
    row = bench.row("tasks", "sum")
    assert len(row["deps"]) == len(row["waits_for"]) == 64


# Groups


def test_a_group_is_a_call_site_below_a_parent_group(bench: Bench) -> None:
    bench.submit("a", name="h", site="1", cell="c")
    bench.submit("b", name="h", site="1", cell="c")
    bench.submit("c", name="h", site="2")
    bench.submit("d", parent="a", site="3")
    bench.submit("e", parent="b", site="3")
    bench.submit("f", parent="c", site="3", dependencies=["d.0"])
    groups = bench.rows("groups")
    assert [(row["name"], row["parent"], sum(row["counts"].values())) for row in groups.values()] == [
        ("h", None, 2),
        ("h", None, 1),
        ("f", "g1", 2),
        ("f", "g2", 1),
    ]
    assert groups["g1"]["cell"] == "c"
    assert groups["g4"]["deps"] == ["g3"]
    assert (groups["g3"]["first"], groups["g3"]["last"]) == (4.0, 5.0)


def test_two_calls_on_one_line_are_two_groups(bench: Bench) -> None:
    bench.submit("a", name="f", site="1")
    bench.submit("b", name="g", site="1", dependencies=["a.0"])
    assert [row["name"] for row in bench.rows("groups").values()] == ["f", "g"]
    assert bench.row("groups", "g2")["deps"] == ["g1"]


def test_a_recursion_is_a_few_groups(bench: Bench) -> None:
    def fib(task: str, parent: str | None, site: str, depth: int) -> None:
        bench.submit(task, name="fib", site=site, parent=parent)
        if depth:
            fib(f"{task}l", task, "left", depth - 1)
            fib(f"{task}r", task, "right", depth - 1)

    fib("t", None, "driver", 6)
    groups = bench.rows("groups")
    assert len(groups) == 5
    assert sum(sum(row["counts"].values()) for row in groups.values()) == 127
    assert all(row["parent"] != key for key, row in groups.items())


def test_a_chain_through_one_call_site_has_no_edge_to_itself(bench: Bench) -> None:
    bench.submit("a", site="1")
    bench.submit("b", site="1", dependencies=["a.0"])
    assert bench.row("tasks", "b")["deps"] == ["a"]
    assert bench.row("groups", "g1")["deps"] == []


def test_a_group_names_its_actor_while_it_has_one(bench: Bench) -> None:
    bench.submit("a", kind="method", actor="x", site="1")
    bench.submit("b", kind="method", actor="x", site="1")
    assert bench.row("groups", "g1")["actor"] == "x"
    bench.submit("c", kind="method", actor="y", site="1")
    bench.submit("d", kind="method", actor="x", site="1")
    assert bench.row("groups", "g1")["actor"] is None


# Actors


def test_the_life_of_an_actor(bench: Bench) -> None:
    bench.ready(("0",), CPU=4.0, GPU=1.0)
    bench.submit("init", kind="actor", name="Counter")
    bench.tell(ev.ActorCreated, actor="a", class_name="Counter", name="counter", task="init", parent=None)
    assert bench.row("actors", "a")["state"] == "pending"
    assert bench.row("tasks", "init")["actor"] == "a"
    bench.tell(ev.WorkerStarted, worker="w", pid=7)
    bench.start("init", CPU=1.0, GPU=1.0, gpus=("0",))
    assert bench.row("actors", "a")["state"] == "starting"
    bench.tell(ev.ActorAlive, actor="a", worker="w", pid=7, held={"CPU": 1.0, "GPU": 1.0}, gpus=["0"])
    # The constructor has not finished yet, and nothing is counted twice.
    assert bench.row("resources", "CPU")["holders"] == [{"id": "a", "kind": "actor", "label": "counter", "amount": 1.0}]
    assert bench.row("resources", "GPU:0")["used"] == 1.0
    bench.finish("init")
    row = bench.row("actors", "a")
    assert (row["state"], row["pid"], row["held"], row["gpus"]) == ("alive", 7, {"CPU": 1.0, "GPU": 1.0}, ["0"])
    assert bench.row("workers", "w") == {
        "id": "w",
        "pid": 7,
        "node": None,
        "state": "actor",
        "task": None,
        "actor": "a",
        "started": 4.0,
    }
    bench.tell(ev.ActorRestarted, actor="a", restarts=1, reason="killed")
    row = bench.row("actors", "a")
    assert (row["state"], row["restarts"], row["held"], row["error"], row["worker"]) == (
        "restarting",
        1,
        {},
        "killed",
        None,
    )
    assert bench.row("resources", "CPU")["used"] == 0
    bench.tell(ev.WorkerDied, worker="w", reason="killed", expected=False)
    bench.tell(ev.ActorAlive, actor="a", worker="w2", pid=8, held={"CPU": 1.0})
    bench.tell(ev.ActorDied, actor="a", reason="all handles are gone")
    row = bench.row("actors", "a")
    assert (row["state"], row["held"], row["error"], row["reason"]) == ("dead", {}, "all handles are gone", None)
    assert bench.row("workers", "w2")["state"] == "idle"
    assert bench.row("resources", "CPU")["holders"] == []


def test_an_actor_that_ends_as_it_should_has_no_error(bench: Bench) -> None:
    bench.ready((), CPU=1.0)
    bench.submit("init", kind="actor", name="Counter")
    bench.tell(ev.ActorCreated, actor="a", class_name="Counter", name=None, task="init", parent=None)
    bench.tell(ev.ActorRestarted, actor="a", restarts=1, reason="killed")
    bench.tell(ev.ActorDied, actor="a", reason="nobody refers to it", expected=True)
    row = bench.row("actors", "a")
    assert (row["state"], row["error"], row["reason"]) == ("dead", None, "nobody refers to it")


def test_an_actors_queue(bench: Bench) -> None:
    def counts() -> tuple[int, int, int]:
        row = bench.row("actors", "a")
        return row["queue"], row["running"], row["finished"]

    bench.actor()
    for task in "pqrs":
        bench.submit(task, kind="method", actor="a")
    assert counts() == (4, 0, 0)
    bench.start("p", "aw")
    assert counts() == (3, 1, 0)
    assert bench.row("workers", "aw")["state"] == "actor"
    assert bench.row("workers", "aw")["task"] == "p"
    bench.tell(ev.TaskBlocked, task="p", waits_for=[], lent={})
    assert counts() == (3, 1, 0)
    bench.finish("p")
    bench.tell(ev.TaskCancelled, task="q")
    assert counts() == (2, 0, 2)
    bench.start("r", "aw")
    bench.tell(ev.TaskRetried, task="r", attempt=1, reason="")
    assert counts() == (2, 0, 2)
    assert bench.row("workers", "aw")["state"] == "actor"


def test_who_holds_handles(bench: Bench) -> None:
    bench.actor()
    for _ in range(2):
        bench.tell(ev.HandlePassed, actor="a", holder="t", holder_kind="task", label="f")
    bench.tell(ev.HandlePassed, actor="a", holder="driver", holder_kind="driver", label="notebook")
    assert bench.row("actors", "a")["holders"] == [
        {"id": "t", "kind": "task", "label": "f", "count": 2},
        {"id": "driver", "kind": "driver", "label": "notebook", "count": 1},
    ]
    bench.tell(ev.HandleDropped, actor="a", holder="t")
    bench.tell(ev.HandleDropped, actor="a", holder="t")
    assert [holder["id"] for holder in bench.row("actors", "a")["holders"]] == ["driver"]
    for number in range(150):
        bench.tell(ev.HandlePassed, actor="a", holder=f"t{number}", holder_kind="task", label="f")
    holders = bench.row("actors", "a")["holders"]
    assert len(holders) == 101
    assert holders[-1] == {"id": "others", "kind": "object", "label": "51 others", "count": 51}


# Workers and the runtime


def test_workers(bench: Bench) -> None:
    bench.tell(ev.WorkerStarted, worker="w", pid=7)
    assert bench.row("workers", "w")["state"] == "idle"
    bench.submit("a")
    bench.start("a", "w")
    assert (bench.row("workers", "w")["state"], bench.row("workers", "w")["task"]) == ("busy", "a")
    bench.finish("a")
    assert (bench.row("workers", "w")["state"], bench.row("workers", "w")["task"]) == ("idle", None)
    bench.tell(ev.WorkerDied, worker="w", reason="", expected=True)
    assert bench.rows("workers") == {}


@pytest.mark.parametrize(("expected", "state", "end"), [(True, "stopped", "cancelled"), (False, "dead", "failed")])
def test_with_the_runtime_everything_ends(bench: Bench, expected: bool, state: str, end: str) -> None:
    bench.ready()
    bench.submit("a")
    bench.start("a", CPU=1.0)
    bench.submit("b")
    bench.actor(CPU=1.0)
    bench.tell(ev.RuntimeStopped, expected=expected, message="why")
    assert {row["state"] for row in bench.rows("tasks").values()} == {end}
    assert (bench.row("actors", "a")["state"], bench.row("actors", "a")["error"]) == (
        "dead",
        None if expected else "why",
    )
    assert bench.rows("workers") == bench.rows("resources") == {}
    runtime = describe(bench.model)["runtime"]
    assert (runtime["state"], runtime["message"], runtime["pid"], runtime["since"]) == (state, "why", None, bench.now)


def test_since_is_when_the_state_changed(bench: Bench) -> None:
    set_runtime(bench.model, "starting", at=1.0)
    set_runtime(bench.model, "starting", at=2.0, message="still", pid=3)
    runtime = describe(bench.model)["runtime"]
    assert (runtime["since"], runtime["message"], runtime["pid"]) == (1.0, "still", 3)


# Late subscription


def test_events_without_a_record_change_nothing(bench: Bench) -> None:
    before = describe(bench.model)
    bench.tell(ev.TaskQueued, task="x")
    bench.tell(ev.TaskBlocked, task="x", waits_for=["y"], lent={"CPU": 1.0})
    bench.tell(ev.TaskUnblocked, task="x")
    bench.tell(ev.TaskRetried, task="x", attempt=1, reason="")
    bench.tell(ev.TaskFinished, task="x")
    bench.tell(ev.TaskFailed, task="x", error="")
    bench.tell(ev.TaskCancelled, task="x")
    bench.tell(ev.ActorDied, actor="x", reason="")
    bench.tell(ev.HandlePassed, actor="x", holder="y", holder_kind="task", label="")
    bench.tell(ev.HandleDropped, actor="x", holder="y")
    bench.tell(ev.ObjectFreed, object="x")
    bench.tell(ev.ObjectSpilled, object="x", size=1)
    bench.tell(ev.WorkerDied, worker="x", reason="", expected=True)
    bench.tell(ev.LogLines, stream="stdout", text="hello", name="f", pid=1)
    assert describe(bench.model) == before
    assert not bench.model.dirty


def test_a_start_out_of_the_blue_holds_resources(bench: Bench) -> None:
    bench.ready()
    bench.start("0123456789", CPU=1.0)
    assert bench.row("tasks", "0123456789")["name"] == "task 01234567"
    assert bench.row("resources", "CPU")["used"] == 1.0
    assert [row["name"] for row in bench.rows("groups").values()] == ["earlier calls"]
    bench.finish("0123456789")
    assert bench.row("resources", "CPU")["used"] == 0.0


def test_a_child_of_an_unknown_parent_stands_at_the_top(bench: Bench) -> None:
    bench.submit("a", parent="unknown")
    assert bench.row("tasks", "a")["parent"] == "unknown"
    assert bench.row("groups", "g1")["parent"] is None
    bench.finish("a")
