"""What the side panel shows, read as one consistent picture; and gates that hold tasks where a test wants.

A test never guesses how long a task takes: tasks wait at gates, which the test opens when it has seen enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ui.lab_page import LabPage

_READ = """() => {
    const panel = document.querySelector('.jr-Panel');
    const all = (id, read, root = panel) => [...root.querySelectorAll(`[data-testid="${id}"]`)].map(read);
    const data = node => ({...node.dataset, text: node.textContent});
    const state = panel.querySelector('[data-testid="jr-runtime-state"]');
    return {
        ...panel.dataset,
        state: state.dataset.state,
        title: state.querySelector('.jr-Header-title').textContent,
        tasks: all('jr-task', node => {
            const glyph = node.querySelector('.jr-Glyph');
            const style = getComputedStyle(glyph);
            return {
                id: node.dataset.taskId,
                name: node.dataset.taskName,
                state: node.dataset.state,
                note: node.querySelector('.jr-Node-note').textContent,
                shape: `${glyph.getAttribute('d')} ${glyph.classList[1]}`,
                colour: style.fill === 'none' ? style.stroke : style.fill,
            };
        }),
        groups: all('jr-group', data),
        edges: [...panel.querySelectorAll('[data-edge]')].map(node => ({
            kind: node.dataset.edge,
            source: node.dataset.source,
            target: node.dataset.target,
            look: [getComputedStyle(node).strokeDasharray, getComputedStyle(node).markerEnd].join(' '),
        })),
        actors: all('jr-actor', node => ({...data(node), holders: all('jr-holder', data, node)})),
        resources: all('jr-resource', node => ({
            ...data(node),
            holders: all('jr-resource-holder', data, node),
            lentBy: all('jr-lent', data, node),
        })),
    };
}"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task as the graph draws it; `shape` and `colour` are those of its state's glyph."""

    id: str
    name: str
    state: str
    note: str
    shape: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An edge of the graph; `look` tells how its line is drawn."""

    kind: str
    source: str
    target: str
    look: str


@dataclass(frozen=True, kw_only=True)
class Actor:
    """An actor's row; `holders` says who holds how many of its handles."""

    name: str
    cls: str
    state: str
    queue: int
    holders: dict[tuple[str, str], int]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource's row: what is used of it, by whom, and what is lent, by whom."""

    used: float
    total: float
    holders: dict[str, float]
    lent: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """All that the panel showed at one moment."""

    state: str
    title: str
    link: str
    epoch: str
    kernel: str
    tasks: list[Task]
    groups: list[dict[str, str]]
    edges: list[Edge]
    actors: list[Actor]
    resources: dict[str, Resource]

    def named(self, name: str) -> list[Task]:
        """Return the tasks of this name."""
        return [task for task in self.tasks if task.name == name]

    def states(self, name: str) -> dict[str, int]:
        """Count the states of the tasks of this name."""
        return dict(Counter(task.state for task in self.named(name)))

    def called(self, kind: str) -> Counter[tuple[str, str]]:
        """Count the edges of a kind by the names of the tasks at their ends."""
        names = {task.id: task.name for task in self.tasks}
        return Counter((names[edge.source], names[edge.target]) for edge in self.edges if edge.kind == kind)


def look(ui: LabPage) -> Picture:
    """Read the panel."""
    raw: dict[str, Any] = ui.page.evaluate(_READ)
    return Picture(
        state=raw["state"],
        title=raw["title"],
        link=raw.get("link", ""),
        epoch=raw.get("epoch", ""),
        kernel=raw.get("kernel", ""),
        tasks=[Task(**task) for task in raw["tasks"]],
        groups=raw["groups"],
        edges=[Edge(**edge) for edge in raw["edges"]],
        actors=[_actor(actor) for actor in raw["actors"]],
        resources={row["id"]: _resource(row) for row in raw["resources"]},
    )


def wait(ui: LabPage, check: Callable[[Picture], object], timeout: float = 20) -> Picture:
    """Wait until `check` accepts the picture: returns True or None. What it looks up may be missing at first."""

    def accepted() -> Picture | None:
        picture = look(ui)
        try:
            return picture if check(picture) in (None, True) else None
        except (LookupError, ValueError) as error:  # ValueError: `[actor] = picture.actors`, and there is none yet.
            raise AssertionError(f"not there: {error!r}") from None

    try:
        return ui.wait_until(accepted, timeout, "the panel to show it")
    except AssertionError as error:
        raise AssertionError(f"{error}\nthe panel shows {look(ui)}") from None


def wait_states(ui: LabPage, name: str, states: dict[str, int], timeout: float = 20) -> Picture:
    """Wait until the tasks of this name are in these states, as in `{"running": 2}`."""

    def reached(picture: Picture) -> None:
        assert picture.states(name) == states, f"{name} is {picture.states(name)}, not {states}"

    return wait(ui, reached, timeout)


def wait_runtime(ui: LabPage, state: str, timeout: float = 20) -> Picture:
    """Wait until the panel says this of the runtime: "absent", "warm", "ready" ..."""

    def reached(picture: Picture) -> None:
        assert picture.link not in ("asking", "offline"), f"the panel is {picture.link}"
        assert picture.state == state, f"the runtime is {picture.state}, not {state}"

    return wait(ui, reached, timeout)


class Gates:
    """Where tasks wait until the test lets them pass. `setup` is a cell that starts the runtime and defines `gate`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> None:
        """Let all pass who wait at this gate, now or later."""
        (self._folder / name).touch()

    def setup(self, init: str = "num_cpus=2") -> str:
        """Return the source of a first cell."""
        return f"""%load_ext jupyter_ray
import os, time
import jupyter_ray as ray
session = ray.init({init})

def gate(name):
    while not os.path.exists(os.path.join({str(self._folder)!r}, name)):
        time.sleep(0.01)
"""


# Both end by an interrupt: `asleep` tells that it can come now, `woken` that nothing else ended them.
SLEEP = """
try:
    print("asleep")
    time.sleep(600)
except KeyboardInterrupt:
    print("woken")
"""
BUSY_LOOP = """
try:
    print("asleep")
    while True:
        pass
except KeyboardInterrupt:
    print("woken")
"""


# When the panel first draws each state of each task, by the browser's clock. That is the machine's, as is the tasks'.
WATCH = """() => {
    window.seen = {};
    const note = () => {
        for (const node of document.querySelectorAll('.jr-Panel [data-testid="jr-task"]')) {
            window.seen[`${node.dataset.taskName} ${node.dataset.state}`] ??= Date.now() / 1000;
        }
    };
    const options = {subtree: true, childList: true, attributes: true, attributeFilter: ['data-state']};
    new MutationObserver(note).observe(document.querySelector('.jr-Panel'), options);
}"""

# Tasks that tell when they began and ended, each as long as its gate is closed; from and to which number.
PROBE = """
@ray.remote
def probe(n):
    started = time.time()
    gate(f"probe-{n}")
    return started, time.time()

refs = [probe.options(name=f"probe-{n}").remote(n) for n in range(%d, %d)]
"""


def end_sleep(ui: LabPage, index: int) -> None:
    """Interrupt a cell that ends with `SLEEP` or `BUSY_LOOP`, which must be running still."""
    ui.wait_until(lambda: "asleep" in ui.cell_text(index), 30, "the cell to wait")
    assert ui.cell_state(index) == "running", ui.cell_text(index)
    ui.interrupt_kernel()
    ui.wait_cell(index)
    assert ui.cell_text(index).endswith("woken\n"), ui.cell_text(index)


def _actor(raw: dict[str, Any]) -> Actor:
    holders = {(row["kind"], row["label"]): int(row["holders"]) for row in raw["holders"]}
    return Actor(name=raw["name"], cls=raw["class"], state=raw["state"], queue=int(raw["queue"]), holders=holders)


def _resource(raw: dict[str, Any]) -> Resource:
    return Resource(
        used=float(raw["used"]),
        total=float(raw["total"]),
        holders={row["label"]: float(row["amount"]) for row in raw["holders"]},
        lent={row["label"]: float(row["amount"]) for row in raw["lentBy"]},
    )
