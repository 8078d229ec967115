"""What the panel draws: nested calls and data, the state of each task, who holds which resource and which actor."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import Gates, Picture, look, wait, wait_states

SEEDS = """
@ray.remote
def f():
    gate("f")
    return 1

@ray.remote
def g():
    # Call f 4 times and return the resulting references.
    return [f.remote() for _ in range(4)]

@ray.remote
def h():
    # Call f 4 times, block until those 4 tasks finish, retrieve the results, and return the values.
    return ray.get([f.remote() for _ in range(4)])

@ray.remote
def total(values):
    return sum(values)
"""


def test_nested_calls_and_data_are_drawn_each_in_its_way(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    fails = "@ray.remote\ndef fails():\n    raise ValueError('no')\n\nray.get(fails.options(max_retries=0).remote())"
    cells = [SEEDS, "values = h.remote()\nray.get(total.remote(values))", "refs = ray.get(g.remote())", "ray.get(refs)"]
    ui.open_notebook("seeds.ipynb", gates.setup(), *cells, fails)
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)

    ui.start_cell(2)
    picture = wait_states(ui, "f", {"running": 2, "pending": 2})
    assert picture.states("h") == {"blocked": 1}
    assert picture.states("total") == {"waiting": 1}
    assert picture.called("call") == {("h", "f"): 4}
    assert picture.called("data") == {("h", "total"): 1}
    looks = {kind: {edge.look for edge in picture.edges if edge.kind == kind} for kind in ("call", "data")}
    assert not looks["call"] & looks["data"], looks
    assert picture.named("h")[0].note == "lent CPU"
    ui.screenshot("graph-blocked", of=ui.panel)

    gates.open("f")
    ui.wait_cell(2)
    assert ui.cell_text(2) == "4"
    done = wait(ui, lambda picture: {task.state for task in picture.tasks} == {"finished"})

    # `g` returns while its calls go on: here they are over at once, but they are there, and each can be got.
    ui.run_cell(3)
    assert ui.run_cell(4) == "[1, 1, 1, 1]"
    wait(ui, lambda picture: picture.called("call") == {("h", "f"): 4, ("g", "f"): 4})
    assert "ValueError: no" in ui.run_cell(5)
    failed = wait_states(ui, "fails", {"failed": 1})

    # Every state has a shape of its own, and those that mean different things a colour too.
    glyphs = {task.state: (task.shape, task.colour) for task in [*picture.tasks, *done.tasks, *failed.tasks]}
    assert set(glyphs) == {"running", "pending", "blocked", "waiting", "finished", "failed"}
    assert len({shape for shape, _ in glyphs.values()}) == len(glyphs), glyphs
    assert len({glyphs[state][1] for state in ("running", "blocked", "finished", "failed")}) == 4, glyphs

    # The same as a list, for keyboards and screen readers.
    ui.page.get_by_test_id("jr-tool-list").click()
    rows = ui.panel.locator("[data-testid='jr-task-row']")
    expect(rows).to_have_count(len(failed.tasks))
    expect(rows.and_(ui.panel.locator("[data-task-name='fails']"))).to_contain_text("failed")
    assert ui.accessibility_violations() == []


def test_a_blocked_task_lends_its_cpu_and_keeps_its_gpu(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    program = """
@ray.remote(num_cpus=2)
def f():
    gate("f")
    return 1

@ray.remote(num_cpus=1, num_gpus=1)
def g():
    value = ray.get(f.remote())
    gate("g")
    return value

ray.get(g.remote())
"""
    ui.open_notebook("gpu.ipynb", gates.setup("num_cpus=2, num_gpus=1"), program)
    ui.show_panel()
    ui.run_cell(0)
    ui.start_cell(1)

    def lent(picture: Picture) -> None:
        cpu, gpu = picture.resources["CPU"], picture.resources["GPU:0"]
        assert (cpu.used, cpu.holders, cpu.lent) == (2, {"f": 2}, {"g": 1}), cpu
        assert (gpu.used, gpu.holders, gpu.lent) == (1, {"g": 1}, {}), gpu
        assert (picture.states("g"), picture.states("f")) == ({"blocked": 1}, {"running": 1})

    wait(ui, lent)
    expect(ui.page.get_by_test_id("jr-lent")).to_have_text("g lent")
    # A click on it shows who has lent it.
    ui.page.get_by_test_id("jr-lent").click()
    expect(ui.page.get_by_test_id("jr-details")).to_have_attribute("data-state", "blocked")
    ui.screenshot("gpu-lent", of=ui.panel)

    gates.open("f")

    def back(picture: Picture) -> None:
        cpu, gpu = picture.resources["CPU"], picture.resources["GPU:0"]
        assert (cpu.used, cpu.holders, cpu.lent) == (1, {"g": 1}, {}), cpu
        assert (gpu.used, gpu.holders) == (1, {"g": 1}), gpu
        assert picture.states("g") == {"running": 1}

    wait(ui, back)
    gates.open("g")
    ui.wait_cell(1)
    wait(ui, lambda picture: all(row.used == 0 for row in picture.resources.values()))


def test_an_actor_with_its_queue_and_those_who_hold_it(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    program = """
@ray.remote
class Counter:
    def __init__(self):
        self.counter = 0

    def inc(self):
        gate("inc")
        self.counter += 1
        return self.counter

@ray.remote
def add(counter):
    value = ray.get(counter.inc.remote())
    gate("add")
    return value

counter = Counter.options(name="tally").remote()
refs = [add.remote(counter) for _ in range(2)] + [counter.inc.remote()]
"""
    ui.open_notebook("actor.ipynb", gates.setup(), program, "sorted(ray.get(refs))", "ray.kill(counter)")
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)

    def queued(picture: Picture) -> None:
        [actor] = picture.actors
        assert (actor.name, actor.cls, actor.state) == ("tally", "Counter", "alive")
        assert actor.queue == 2, f"{actor.queue} in the queue"  # three calls, one of which runs
        assert actor.holders == {("driver", "notebook"): 1, ("task", "add"): 2}, actor.holders

    wait(ui, queued)
    ui.screenshot("actor-queue", of=ui.panel)
    gates.open("inc")
    wait(ui, lambda picture: picture.actors[0].queue == 0 and picture.states("Counter.inc") == {"finished": 3})
    # The tasks have their answers and hold their handles until they end.
    assert look(ui).actors[0].holders[("task", "add")] == 2
    gates.open("add")
    wait(ui, lambda picture: picture.actors[0].holders == {("driver", "notebook"): 1})
    assert ui.run_cell(2) == "[1, 2, 3]"
    ui.run_cell(3)
    wait(ui, lambda picture: [actor.state for actor in picture.actors] == ["dead"])
    row = ui.panel.get_by_test_id("jr-actor")
    assert "It was killed by ray.kill" in row.inner_text()
    assert row.locator(".jr-Error").count() == 0, "nothing went wrong"
    ui.screenshot("actor-ended", of=ui.panel)


CREW = """@ray.remote(num_cpus=0)
class Worker:
    def ping(self):
        return 1

@ray.remote(num_cpus=0)
class Boss:
    def __init__(self):
        self.workers = [Worker.remote() for _ in range(12)]

    def pings(self):
        return sum(ray.get([worker.ping.remote() for worker in self.workers]))

boss = Boss.remote()
ray.get(boss.pings.remote())"""


def test_many_actors_of_a_class_are_one_row_until_each_is_asked_for(ui: LabPage, tmp_path: Path) -> None:
    ui.open_notebook("crew.ipynb", Gates(tmp_path).setup(), CREW)
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)
    group = ui.page.get_by_test_id("jr-actor-group")
    expect(group).to_contain_text("Worker ×12")
    expect(group).to_contain_text("12 done")
    expect(group.get_by_test_id("jr-holder")).to_have_text("Boss ×12")
    assert [actor.cls for actor in look(ui).actors] == ["Boss"]
    ui.screenshot("crew", ui.panel)
    group.get_by_role("button").click()
    wait(ui, lambda picture: len(picture.actors) == 13)
    ui.screenshot("crew-open", ui.panel)
    group.get_by_role("button").first.click()
    wait(ui, lambda picture: len(picture.actors) == 1)
