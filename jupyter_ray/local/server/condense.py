"""Fewer events for who draws pictures: of a burst of quick calls, their number.

Pure. A call whose whole life lies between two looks was over before it could be drawn. Where many of one place are,
they become one `TasksRan`, which the panel folds into their group. Everything else stays as it is: calls that go on,
those that anything else speaks of (a parent, one whose value is taken, one that failed or printed), and what happens
to others than calls; but where many objects are freed, one event says so.

Events are looked at once, as they come: a burst makes a hundred thousand a second, and whoever keeps them to look
at them later finds each in no cache. What a burst comes to is small, and so is what its calls under way need.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from operator import attrgetter

from jupyter_ray.events import (
    AnyEvent,
    ObjectFreed,
    ObjectSealed,
    ObjectsFreed,
    Span,
    TaskFinished,
    TasksRan,
    TaskStarted,
    TaskSubmitted,
)
from jupyter_ray.ids import task_of_text

MANY = 50
"""Calls of one place between two looks, from which on they are told by their number."""

BURST = 3 * MANY
"""With so many events between two looks, calls that have only just begun are told at the next one."""

Life = list[AnyEvent]
"""What happened to one call, from its submission on."""

_seq = attrgetter("seq")


class _Place:
    """Calls that were made in one line of a program, and have ended."""

    __slots__ = ("count", "first", "lives")

    def __init__(self, first: TaskSubmitted) -> None:
        self.first = first
        self.count = 0
        self.lives: dict[str, Life] | None = {}
        """By task, as long as they are few; None: they are told by their number."""


class Condenser:
    """The stream of one subscriber.

    Attributes
    ----------
    pending : int
        Events that came since the last look.
    """

    def __init__(self) -> None:
        self.pending = 0
        self._calls: dict[str, Life] = {}
        """Calls under way that nothing else speaks of, the oldest first."""
        self._places: dict[Hashable, _Place] = {}
        self._few: dict[str, _Place] = {}
        """Of each call that has ended in a place with few, that place."""
        self._made: dict[str, _Place] = {}
        """Values of calls that are told by their number, and where they were made."""
        self._unusual: set[str] = set()
        """Calls under way whose values nobody wants any more."""
        self._told: list[AnyEvent] = []
        self._freed: list[ObjectFreed] = []
        self._last: AnyEvent | None = None
        self._looked = 0
        """Number of the last event at the last look."""

    @property
    def carries(self) -> bool:
        """Whether calls under way have not been told of."""
        return bool(self._calls)

    def feed(self, events: list[AnyEvent]) -> None:
        """Take in what happened. Nearly all of a burst goes the short ways here."""
        if not events:
            return
        calls, made, told, places = self._calls, self._made, self._told, self._places
        for event in events:
            kind = type(event)
            if kind is TaskStarted or kind is ObjectSealed:
                life = calls.get(event.task)  # type: ignore[union-attr, arg-type]
                (told if life is None else life).append(event)
            elif kind is TaskFinished:
                life = calls.pop(event.task, None)  # type: ignore[union-attr, arg-type]
                if life is None:
                    told.append(event)
                    continue
                life.append(event)
                call: TaskSubmitted = life[0]  # type: ignore[assignment]
                key = (call.site, call.name, call.kind, call.parent, call.actor, call.cell)
                place = places.get(key)
                returns = call.returns
                if place is None or place.lives is not None or self._unusual or len(life) != 3 + len(returns):
                    self._ended(key, life)
                    continue
                place.count += 1
                for name in returns:
                    made[name] = place
            elif kind is ObjectFreed:
                if made.pop(event.object, None) is None:  # type: ignore[union-attr]
                    self._free(event)  # type: ignore[arg-type]
            elif kind is TaskSubmitted:
                if event.parent is None and not event.dependencies and event.kind != "actor":  # type: ignore[union-attr]
                    calls[event.task] = [event]  # type: ignore[union-attr, index]
                else:
                    self._submitted(event)  # type: ignore[arg-type]
            elif kind is Span:
                told.append(event)  # Nobody draws a call otherwise since it has named what it did.
            else:
                self._mentioned(_names(event), event)
                told.append(event)
        self.pending += len(events)
        self._last = events[-1]

    def look(self, *, whole: bool = False) -> list[AnyEvent]:
        """Return what there is to tell, in order, but for calls that were older at the last look: they come first.

        Parameters
        ----------
        whole
            Tell everything. Otherwise, in a burst, of calls that have only just begun nothing is told yet.
        """
        last = self._last
        if last is None or not (self.pending or self._calls):
            return []
        told, freed = self._told, self._freed
        for place in self._places.values():
            if place.lives is not None:
                for life in place.lives.values():
                    told += life
        self._tell_begun(everything=whole or self.pending < BURST)
        many = len(freed) >= MANY
        if not many:
            told += freed
        told.sort(key=_seq)
        if many:
            told.append(ObjectsFreed(seq=last.seq, at=last.at, objects=[each.object for each in freed]))
        many_ran = [place for place in self._places.values() if place.lives is None and place.count]
        held: dict[_Place, list[str]] = {place: [] for place in many_ran}
        for name, place in self._made.items():
            held[place].append(name)
        told += [_ran(place, returns, last) for place, returns in held.items()]
        self.pending = 0
        self._places, self._few, self._made, self._told, self._freed = {}, {}, {}, [], []
        self._looked = last.seq
        return told

    def _tell_begun(self, *, everything: bool) -> None:
        begun = []
        for task, life in self._calls.items():
            if life[0].seq > self._looked and not everything:
                break
            begun.append(task)
            self._told += life
        for task in begun:
            del self._calls[task]
        self._unusual.difference_update(begun)

    def _submitted(self, call: TaskSubmitted) -> None:
        if call.parent is not None:
            self._mentioned((call.parent,), call)
        if call.dependencies:
            self._mentioned(call.dependencies, call)
        if call.dependencies or call.kind == "actor":
            self._told.append(call)
        else:
            self._calls[call.task] = [call]

    def _ended(self, key: Hashable, life: Life) -> None:
        call: TaskSubmitted = life[0]  # type: ignore[assignment]
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(call)
        place.count += 1
        if place.lives is None:
            self._fold(place, life)
            return
        place.lives[call.task] = life
        self._few[call.task] = place
        if place.count >= MANY:
            lives, place.lives = place.lives, None
            for task, each in lives.items():
                del self._few[task]
                self._fold(place, each)

    def _fold(self, place: _Place, life: Life) -> None:
        """Tell a call by its number, if its values are only those that it was made for."""
        call: TaskSubmitted = life[0]  # type: ignore[assignment]
        self._unusual.discard(call.task)
        sealed = {event.object for event in life if type(event) is ObjectSealed}
        freed = {event.object for event in life if type(event) is ObjectFreed}
        if sealed.issubset(call.returns):
            for name in call.returns:
                if name not in freed:
                    self._made[name] = place
        else:
            place.count -= 1
            self._told += life

    def _free(self, event: ObjectFreed) -> None:
        task = task_of_text(event.object)
        if task in self._calls:
            self._calls[task].append(event)
            self._unusual.add(task)
        elif task in self._few:
            self._few[task].lives[task].append(event)  # type: ignore[index]
        else:
            self._freed.append(event)

    def _mentioned(self, names: Iterable[str], by: AnyEvent) -> None:
        """Tell of the calls that an event speaks of, by their ids or those of their values."""
        for name in names:
            task = task_of_text(name)
            life = self._calls.pop(task, None)
            if life is not None:
                self._unusual.discard(task)
                self._told += life
            elif task in self._few:
                place = self._few.pop(task)
                place.count -= 1
                self._told += place.lives.pop(task)  # type: ignore[union-attr]
            elif name in self._made:
                self._close(self._made[name], by)

    def _close(self, place: _Place, by: AnyEvent) -> None:
        """Tell of a place's calls now: an event speaks of one, and comes after them."""
        returns = [name for name, each in self._made.items() if each is place]
        for name in returns:
            del self._made[name]
        self._told.append(_ran(place, returns, by))
        for key in [key for key, each in self._places.items() if each is place]:
            del self._places[key]

    def __repr__(self) -> str:
        return f"<Condenser: {self.pending} events since the last look, {len(self._calls)} calls under way>"


def _ran(place: _Place, returns: list[str], last: AnyEvent) -> TasksRan:
    first = place.first
    return TasksRan(
        seq=last.seq,
        at=last.at,
        name=first.name,
        kind=first.kind,
        parent=first.parent,
        returns=returns,
        demand=first.demand,
        actor=first.actor,
        cell=first.cell,
        site=first.site,
        count=place.count,
        since=first.at,
    )


def _names(event: AnyEvent) -> list[str]:
    """Return all that an event could mean a call with."""
    found: list[str] = []
    for field in event.__struct_fields__:
        value = getattr(event, field)
        if type(value) is str:
            found.append(value)
        elif type(value) is list:
            found += [each for each in value if type(each) is str]
    return found
