"""Lists, tuples and dicts that are nested more deeply than the pickler goes.

It goes through a value by recursion, two steps for a list in a list, and Python lets it take a thousand. So where it
has failed for that, and only there, the containers are taken apart without recursion, and it gets a flat list of what
is in them. To raise Python's limit instead would end the process: where it is lowered again, another thread may be
deeper at that moment.
"""

from __future__ import annotations

from typing import Any

_LEAF, _LIST, _TUPLE, _DICT, _AGAIN = range(5)
_CODES: dict[type, int] = {list: _LIST, tuple: _TUPLE, dict: _DICT}

Step = tuple[int, int]
"""What to do, and with how many of the last values, or with which."""


def is_too_deep(error: BaseException) -> bool:
    """Tell whether the pickler ran into the recursion limit; cloudpickle has another error for that."""
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def instead(value: Any, error: BaseException) -> Flat | None:
    """Return what to pickle in place of `value`, after that `error`; None: nothing helps."""
    if not is_too_deep(error):
        return None
    try:
        return Flat(value)
    except ValueError:
        return None


class Flat:
    """Stands for nested containers in a pickle.

    Parameters
    ----------
    value
        The outermost one.

    Raises
    ------
    ValueError
        One is in itself.
    """

    __slots__ = ("leaves", "steps")

    def __init__(self, value: Any) -> None:
        self.leaves: list[Any] = []
        self.steps: list[Step] = []
        made: dict[int, int] = {}
        """Number of each container that is whole, by its `id`: the value keeps it alive."""
        begun: set[int] = set()
        waiting: list[tuple[Any, int]] = [(value, -1)]
        while waiting:
            item, count = waiting.pop()
            code = _CODES.get(type(item), _LEAF)
            if count >= 0:  # What is in it has been done.
                begun.discard(id(item))
                made[id(item)] = len(made)
                self.steps.append((code, count))
            elif code == _LEAF or not item:
                self.steps.append((_LEAF, len(self.leaves)))
                self.leaves.append(item)
            elif id(item) in made:
                self.steps.append((_AGAIN, made[id(item)]))
            elif id(item) in begun:
                raise ValueError("a container is in itself")
            else:
                begun.add(id(item))
                inside = [each for pair in item.items() for each in pair] if code == _DICT else list(item)
                waiting.append((item, len(inside)))
                waiting.extend((each, -1) for each in reversed(inside))

    def __reduce__(self) -> Any:
        return put_together, (self.steps, self.leaves)


def put_together(steps: list[Step], leaves: list[Any]) -> Any:
    """Return the value that a `Flat` stood for."""
    values: list[Any] = []
    made: list[Any] = []
    for code, number in steps:
        if code == _LEAF:
            values.append(leaves[number])
            continue
        if code == _AGAIN:
            values.append(made[number])
            continue
        inside = values[len(values) - number :]
        del values[len(values) - number :]
        whole: Any = inside
        if code == _TUPLE:
            whole = tuple(inside)
        elif code == _DICT:
            whole = dict(zip(inside[::2], inside[1::2], strict=True))
        values.append(whole)
        made.append(whole)
    (value,) = values
    return value
