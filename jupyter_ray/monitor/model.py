"""The model: what the panel shows of one runtime, within bounds.

The rules that keep it small, whatever the program does:

- A task has a row (`Model.shown`) until more than `Limits.tasks` have one; then the task that ended first loses it and
  lives on in its group's counts. A task that has not ended never loses its row, and a parent of such a task loses its
  row only when nobody else can.
- When even that finds no room, a submitted task gets its row when it starts. Until then only its group counts it.
- Groups past `Limits.groups` are merged into one catch-all; dead actors and known objects are bounded as well.

Nothing here is locked: the owner (`hub.Hub`) sees to it that one thread at a time is inside.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice

from jupyter_ray.events import Node, TaskKind
from jupyter_ray.monitor.records import (
    ENDED,
    OTHER,
    TASK_STATES,
    Actor,
    Amounts,
    Dirty,
    Group,
    GroupKey,
    Limits,
    Runtime,
    Task,
    Worker,
)


class Model:
    """Everything that is known of one runtime, within `limits`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.runtime = Runtime()
        self.tasks: dict[str, Task] = {}
        self.shown: dict[str, Task] = {}
        self.holding: dict[str, Task] = {}
        """Tasks that run or are blocked."""
        self.groups: dict[str, Group] = {}
        self.group_index: dict[GroupKey, Group] = {}
        self.actors: dict[str, Actor] = {}
        self.workers: dict[str, Worker] = {}
        self.totals: Amounts = {}
        self.gpus: list[str] = []
        self.nodes: dict[str, Node] = {}
        """The machines, if there are several, by the ids of their rows."""
        self.places: dict[str, str] = {}
        """By a machine's own id: the id of its row."""
        self.producers: dict[str, tuple[str, Group]] = {}
        """By object id: the task whose result it is, and that task's group."""
        self.dirty = Dirty()
        self.events = 0
        self._ended: deque[Task] = deque()
        self._parents: OrderedDict[str, Task] = OrderedDict()
        self._dead_actors: OrderedDict[str, Actor] = OrderedDict()
        self._groups_made = 0
        self._crowded = 0

    def __repr__(self) -> str:
        return (
            f"<Model of {len(self.tasks)} tasks ({len(self.shown)} shown, {self.runtime.dropped} folded), "
            f"{len(self.groups)} groups, {len(self.actors)} actors, {len(self.workers)} workers>"
        )

    def set_nodes(self, nodes: list[Node]) -> None:
        """Take the machines of a cluster. One alone is nothing to tell of; past the limit they share a row."""
        self.nodes, self.places = {}, {}
        if len(nodes) > 1:
            room = len(nodes) if len(nodes) <= self.limits.nodes else self.limits.nodes - 1
            for node in nodes[:room]:
                self.nodes[node.id] = node
                self.places[node.id] = node.id
            if rest := nodes[room:]:
                total: Amounts = {}
                for node in rest:
                    self.places[node.id] = OTHER
                    for kind, amount in node.resources.items():
                        total[kind] = total.get(kind, 0.0) + amount
                self.nodes[OTHER] = Node(id=OTHER, name=f"{len(rest)} other nodes", resources=total)
        self.dirty.resources = True

    # Rows of tasks

    def admit(self, task: Task) -> None:
        """Take in a new task, with a row if there is room for it."""
        self.tasks[task.id] = task
        if len(self.shown) < self.limits.tasks or self._fold_oldest(parents=False):
            self.show(task)

    def show(self, task: Task) -> None:
        """Give the task a row."""
        task.shown = True
        self.shown[task.id] = task
        self.dirty.tasks[task.id] = task
        if self.dirty.gone_tasks and self.dirty.gone_tasks.pop(task.id, False):
            task.sent = True  # The panel still has a row with this id, so its removal must be told if it comes.
        self.trim()

    def retire(self, task: Task) -> None:
        """The task ended: its row may go from now on."""
        if task.parent is not None:
            self._release_parent(task.parent)
        if not task.shown:
            self._fold(task)
        elif not task.filed:
            task.filed = True
            self._ended.append(task)
            self.trim()

    def trim(self) -> None:
        """Fold ended tasks while there are too many rows."""
        while len(self.shown) > self.limits.tasks and self._fold_oldest(parents=True):
            pass

    def _release_parent(self, parent_id: str) -> None:
        parent = self.tasks.get(parent_id)
        if parent is None:
            return
        parent.children -= 1
        if parent.children <= 0 and self._parents and self._parents.pop(parent_id, None) is not None:
            self._ended.append(parent)

    def _fold_oldest(self, *, parents: bool) -> bool:
        while self._ended:
            task = self._ended.popleft()
            if task.state not in ENDED:
                task.filed = False  # It was started again, to make a lost result anew.
            elif task.children > 0:
                self._parents[task.id] = task
            else:
                self._fold(task)
                return True
        while parents and self._parents:
            _, task = self._parents.popitem(last=False)
            if task.state in ENDED:
                self._fold(task)
                return True
            task.filed = False
        return False

    def _fold(self, task: Task) -> None:
        dirty = self.dirty
        del self.tasks[task.id]
        if task.shown:
            del self.shown[task.id]
            task.shown = False
            dirty.tasks.pop(task.id, None)
            if task.sent:
                dirty.gone_tasks[task.id] = True
        task.group.folded += 1
        dirty.groups[task.group.id] = task.group
        self.runtime.dropped += 1
        dirty.runtime = True

    # Objects

    def trim_objects(self) -> None:
        """Forget the oldest objects past the limit, many at a time: taking one from a dict's front is slow."""
        surplus = len(self.producers) - self.limits.objects
        if surplus > 0:
            for key in list(islice(self.producers, surplus + self.limits.objects // 10)):
                del self.producers[key]

    def producers_of(self, objects: list[str], *, but: str | None) -> list[str] | None:
        """Return the tasks whose results these objects are, each once, without `but`; None for none."""
        found: dict[str, None] = {}
        for key in objects:
            made = self.producers.get(key)
            if made is not None and made[0] != but:
                found[made[0]] = None
                if len(found) >= self.limits.links:
                    break
        return list(found) or None

    # Actors and workers

    def touch(self, actor: Actor) -> None:
        """Note that the actor changed, unless its row is gone."""
        if self.actors.get(actor.id) is actor:
            self.dirty.actors[actor.id] = actor

    def actor(self, actor_id: str, at: float) -> Actor:
        """Return the actor's record, new if there is none, as changed."""
        actor = self.actors.get(actor_id)
        if actor is None:
            actor = Actor(id=actor_id, name=None, class_name="actor", task="", parent=None, created=at)
            actor.sent = self.dirty.gone_actors.pop(actor_id, False)
            self.actors[actor_id] = actor
        self.dirty.actors[actor_id] = actor
        return actor

    def worker(self, worker_id: str, at: float) -> Worker:
        """Return the worker's record, new if there is none, as changed."""
        worker = self.workers.get(worker_id)
        if worker is None:
            worker = Worker(id=worker_id, pid=None, started=at)
            worker.sent = self.dirty.gone_workers.pop(worker_id, False)
            self.workers[worker_id] = worker
        self.dirty.workers[worker_id] = worker
        return worker

    def bury(self, actor: Actor) -> None:
        """The actor is dead: its row may go when there are too many."""
        self._dead_actors[actor.id] = actor
        if len(self._dead_actors) > self.limits.dead_actors:
            key, oldest = self._dead_actors.popitem(last=False)
            if oldest.state == "dead":
                del self.actors[key]
                self.dirty.actors.pop(key, None)
                if oldest.sent:
                    self.dirty.gone_actors[key] = True

    # Groups

    def new_group(
        self, *, site: str | None, name: str, kind: TaskKind, cell: str | None, parent: Group | None, at: float
    ) -> Group:
        """Make the group of a call that `group_index` does not know, or find one that takes it in.

        A recursive call joins the group of the same place further up, so that a recursion of any depth and width is a
        few groups.
        """
        ancestor = parent
        while ancestor is not None:
            if ancestor.site == site and ancestor.name == name and ancestor.kind == kind:
                self.group_index[(site, name, kind, parent.id if parent is not None else None)] = ancestor
                return ancestor
            ancestor = ancestor.parent
        if len(self.groups) >= self.limits.groups:
            if not self._merge_groups(at):
                return self._catch_all(at)
            if parent is not None and parent.id not in self.groups:
                parent = self._catch_all(at)
        self._groups_made += 1
        group = self._add_group(f"g{self._groups_made}", name, kind, at, site=site, parent=parent, cell=cell)
        self.group_index[(site, name, kind, parent.id if parent is not None else None)] = group
        return group

    def _add_group(
        self,
        key: str,
        name: str,
        kind: TaskKind,
        at: float,
        *,
        site: str | None = None,
        parent: Group | None = None,
        cell: str | None = None,
    ) -> Group:
        counts: dict[str, int] = dict.fromkeys(TASK_STATES, 0)
        group = Group(
            id=key, name=name, kind=kind, site=site, parent=parent, cell=cell, first=at, last=at, counts=counts
        )
        self.groups[key] = self.dirty.groups[key] = group
        return group

    def _catch_all(self, at: float) -> Group:
        return self.groups.get(OTHER) or self._add_group(OTHER, "other calls", "task", at)

    def _merge_groups(self, at: float) -> bool:
        """Merge the groups that were idle for longest into the catch-all; False if too few are idle.

        It looks at every group and task, so it takes a tenth of the groups at once, and after a failure it does not
        look again for a while.
        """
        batch = max(1, self.limits.groups // 10)
        if self._crowded:
            self._crowded -= 1
            return False
        idle = [group for group in self.groups.values() if group.id != OTHER and not group.alive]
        if len(idle) < min(batch, 20):
            self._crowded = self.limits.groups
            return False
        idle.sort(key=lambda group: group.last)
        gone = {group.id: group for group in idle[:batch]}
        other = self._catch_all(at)
        for group in gone.values():
            self._drop_group(group, into=other)
        for group in self.groups.values():
            if group.parent is not None and group.parent.id in gone:
                group.parent = other
                self.dirty.groups[group.id] = group
            if not gone.keys().isdisjoint(group.deps):
                deps = dict.fromkeys(OTHER if key in gone else key for key in group.deps)
                deps.pop(group.id, None)
                group.deps = deps
                self.dirty.groups[group.id] = group
        for task in self.tasks.values():
            if task.group.id in gone:
                task.group = other
                if task.shown:
                    self.dirty.tasks[task.id] = task
        self.group_index = {
            key: group for key, group in self.group_index.items() if group.id not in gone and key[3] not in gone
        }
        return True

    def _drop_group(self, group: Group, *, into: Group) -> None:
        del self.groups[group.id]
        self.dirty.groups.pop(group.id, None)
        if group.sent:
            self.dirty.gone_groups[group.id] = True
        for state, count in group.counts.items():
            into.counts[state] += count
        into.folded += group.folded
        into.first = min(into.first, group.first)
        into.last = max(into.last, group.last)
        into.deps.update(group.deps)
        into.deps.pop(into.id, None)
        self.dirty.groups[into.id] = into
