"""The panel's comm: with fakes for what must be left as it was, and in a real kernel for what travels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from jupyter_ray.ipython.comm import COMM_ID, PanelComm, open_comm
from jupyter_ray.monitor.hub import Hub

PATIENCE = 30.0


class FakeManager:
    def __init__(self) -> None:
        self.comms: dict[str, Any] = {}
        self.heard: list[Any] = []

    def register_comm(self, comm: Any) -> None:
        self.comms[comm.comm_id] = comm

    def comm_msg(self, stream: Any, ident: Any, message: Any) -> None:
        self.heard.append(message)


class FakeSession:
    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def send(self, socket: Any, kind: str, content: Any, *, parent: Any, ident: bytes) -> None:
        self.sent.append((socket, kind, content, parent, ident))


def fake_kernel() -> Any:
    return SimpleNamespace(session=FakeSession(), iopub_socket="iopub", control_handlers={}, comm_manager=FakeManager())


def message(data: Any, comm_id: str = COMM_ID) -> dict[str, Any]:
    return {"content": {"comm_id": comm_id, "data": data}}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


@pytest.fixture
def opened(hub: Hub) -> Iterator[tuple[Any, PanelComm]]:
    kernel = fake_kernel()
    comm = open_comm(hub, SimpleNamespace(kernel=kernel))
    assert comm is not None
    yield kernel, comm
    comm.close()


def test_there_is_no_comm_without_ipykernel(hub: Hub) -> None:
    assert open_comm(hub, SimpleNamespace()) is None  # a shell of plain IPython has no kernel
    assert open_comm(hub, None) is None
    assert open_comm(hub, SimpleNamespace(kernel=SimpleNamespace(session=None))) is None


def test_the_start_is_announced_by_one_snapshot_on_iopub(opened: tuple[Any, PanelComm]) -> None:
    kernel, _ = opened
    until(lambda: bool(kernel.session.sent))
    [(socket, kind, content, parent, ident)] = kernel.session.sent
    assert (socket, kind, parent, ident) == ("iopub", "comm_msg", {}, b"comm-jupyter_ray")
    assert content["comm_id"] == COMM_ID
    assert content["data"]["type"] == "snapshot"


def test_both_channels_lead_to_the_hub(hub: Hub, opened: tuple[Any, PanelComm]) -> None:
    kernel, _ = opened
    kernel.comm_manager.comms[COMM_ID].handle_msg(message({"type": "hello", "client": "a"}))
    kernel.control_handlers["comm_msg"]("stream", "ident", message({"type": "hello", "client": "b"}))
    assert hub.statistics().clients == 2
    kernel.control_handlers["comm_msg"]("stream", "ident", message("nonsense"))
    kernel.control_handlers["comm_msg"]("stream", "ident", message({"type": "nonsense"}))
    assert hub.statistics().clients == 2
    assert kernel.comm_manager.heard == []


def test_messages_for_other_comms_go_where_they_went_before(hub: Hub) -> None:
    kernel = fake_kernel()
    first = open_comm(hub, SimpleNamespace(kernel=kernel))
    assert first is not None
    kernel.control_handlers["comm_msg"]("stream", "ident", message({}, "widget"))
    assert kernel.comm_manager.heard == [message({}, "widget")]
    first.close()

    theirs: list[Any] = []
    kernel.control_handlers["comm_msg"] = earlier = lambda *args: theirs.append(args)
    second = open_comm(hub, SimpleNamespace(kernel=kernel))
    assert second is not None
    kernel.control_handlers["comm_msg"]("stream", "ident", message({}, "widget"))
    assert theirs == [("stream", "ident", message({}, "widget"))]
    second.close()
    assert kernel.control_handlers == {"comm_msg": earlier}


def test_close_leaves_the_kernel_as_it_was(hub: Hub, opened: tuple[Any, PanelComm]) -> None:
    kernel, comm = opened
    ours = kernel.control_handlers["comm_msg"]
    comm.close()
    comm.close()
    assert kernel.control_handlers == {}
    assert kernel.comm_manager.comms == {}
    assert "closed" in repr(comm)
    # Someone who kept our handler still reaches the comm manager.
    ours("stream", "ident", message({"type": "hello", "client": "a"}))
    assert len(kernel.comm_manager.heard) == 1
    assert hub.statistics().clients == 0


def test_a_second_comm_replaces_the_first(hub: Hub, opened: tuple[Any, PanelComm]) -> None:
    kernel, first = opened
    second = open_comm(hub, SimpleNamespace(kernel=kernel))
    assert second is not None
    assert "closed" in repr(first)
    assert kernel.comm_manager.comms[COMM_ID].panel is second
    second.close()
    assert kernel.control_handlers == {}


def test_a_frontend_cannot_close_the_comm(hub: Hub, opened: tuple[Any, PanelComm]) -> None:
    kernel, _ = opened
    comm = kernel.comm_manager.comms.pop(COMM_ID)
    comm._closed = True
    comm.handle_close(message({}))
    assert kernel.comm_manager.comms[COMM_ID] is comm


# In a real kernel

SETUP = """
from jupyter_ray import events as ev
from jupyter_ray.ipython.comm import open_comm
from jupyter_ray.monitor.hub import Hub
hooks, cancelled = [], []
get_ipython().events.register("post_execute", lambda: hooks.append(1))
hub = Hub(cancel=lambda task, force: cancelled.append((task, force)))
comm = open_comm(hub, get_ipython())
hub.reset("e1")
hub.feed([ev.RuntimeReady(pid=1, engine="local", resources={"CPU": 2.0}, gpus=[])])
"""
BUSY = """
import time
hooks.clear()
submitted = ev.TaskSubmitted(task="t", name="f", kind="task", parent=None, dependencies=[], returns=[], demand={})
hub.feed([submitted])
deadline = time.monotonic() + 30
while not cancelled and time.monotonic() < deadline:
    time.sleep(0.01)
print(cancelled, len(hooks))
"""


@pytest.fixture(scope="module")
def client() -> Iterator[BlockingKernelClient]:
    manager, client = start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def panel_message(client: BlockingKernelClient, accept: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for a message to the panel that `accept` accepts."""
    deadline = time.monotonic() + PATIENCE
    while True:
        received = client.get_iopub_msg(timeout=deadline - time.monotonic())
        if received["msg_type"] == "comm_msg" and received["content"]["comm_id"] == COMM_ID:
            assert received["parent_header"] == {}
            data: dict[str, Any] = received["content"]["data"]
            if accept(data):
                return data


def test_a_real_kernel_pushes_and_hears_while_a_cell_runs(client: BlockingKernelClient) -> None:
    # The kernel's messages are read by the cell's output hook here, so each step is one request and its replies.
    assert client.execute_interactive(SETUP, timeout=PATIENCE)["content"]["status"] == "ok"
    said = client.session.msg("comm_msg", {"comm_id": COMM_ID, "data": {"type": "hello", "client": "p"}})
    client.shell_channel.send(said)
    snapshot = panel_message(client, lambda data: data["type"] == "snapshot" and data["epoch"] == "e1")
    while snapshot["state"]["runtime"]["state"] != "ready":
        snapshot = panel_message(client, lambda data: data["type"] == "snapshot")
    assert [row["id"] for row in snapshot["state"]["resources"]] == ["CPU"]

    cell = client.execute(BUSY)
    delta = panel_message(client, lambda data: data["type"] == "delta")
    assert [row["id"] for row in delta["upsert"]["tasks"]] == ["t"]
    for data in (
        {"type": "ack", "client": "p", "epoch": "e1", "seq": delta["seq"]},
        {"type": "cancel", "client": "p", "task": "t", "force": True},
    ):
        client.control_channel.send(client.session.msg("comm_msg", {"comm_id": COMM_ID, "data": data}))
    deadline = time.monotonic() + PATIENCE
    while True:
        received = client.get_iopub_msg(timeout=deadline - time.monotonic())
        if received["msg_type"] == "stream" and received["parent_header"]["msg_id"] == cell:
            break
    # The cell saw the cancellation, and no message ran the hooks of the shell.
    assert received["content"]["text"].strip() == "[('t', True)] 0"
