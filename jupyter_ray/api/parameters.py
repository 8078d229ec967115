"""What a function takes: a signature that travels, and that is cheap to check.

`inspect.Signature` holds default values and annotations, which need not pickle, and takes microseconds to bind.
`Parameters` knows names, kinds and what is required: enough to tell, at the call, whether Python would accept the
arguments.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_POSITIONAL_ONLY = int(inspect.Parameter.POSITIONAL_ONLY)
_NAMED = int(inspect.Parameter.POSITIONAL_OR_KEYWORD)
_REST = int(inspect.Parameter.VAR_POSITIONAL)
_KEYWORD_ONLY = int(inspect.Parameter.KEYWORD_ONLY)
_KEYWORDS = int(inspect.Parameter.VAR_KEYWORD)
_ENDLESS = 1 << 62
_NO_SELF = (
    " (A remote function gets no self: pass the object as its first argument, or make an actor of the class, with "
    "@ray.remote above that.)"
)

Row = tuple[str, int, bool]


class Parameters:
    """The parameters of one function.

    Parameters
    ----------
    rows
        Name, kind (`inspect.Parameter`'s number) and whether it is required; None: unreadable, so accept everything.
    wrapper
        The parameters of what a decorator with `functools.wraps` has put around it, and what is called.

    Attributes
    ----------
    least, most : int
        So many positional arguments, without keywords, are right; the fast path of a call compares with these.
    """

    __slots__ = ("_index", "_keywords", "least", "most", "rows", "wrapper")

    def __init__(self, rows: tuple[Row, ...] | None, wrapper: Parameters | None = None) -> None:
        self.rows = rows
        self.wrapper = wrapper
        rows = rows or ()
        positional = [row for row in rows if row[1] in (_POSITIONAL_ONLY, _NAMED)]
        rest = self.rows is None or any(kind == _REST for _, kind, _ in rows)
        self.most = _ENDLESS if rest else len(positional)
        needs_keyword = any(kind == _KEYWORD_ONLY and required for _, kind, required in rows)
        self.least = _ENDLESS if needs_keyword else sum(required for _, _, required in positional)
        self._keywords = self.rows is None or any(kind == _KEYWORDS for _, kind, _ in rows)
        self._index = {name: n for n, (name, kind, _) in enumerate(rows) if kind in (_NAMED, _KEYWORD_ONLY)}

    @property
    def names(self) -> list[str]:
        """The names of the parameters, in order."""
        return [name for name, _, _ in self.rows or ()]

    def shown(self, called: Any = None) -> inspect.Signature | None:
        """Return what people are shown of `called`, or of what is known where it is not at hand; None: nothing is."""
        try:
            found = None if called is None else inspect.signature(called)
        except (TypeError, ValueError):
            found = None
        if found is not None:
            return found.replace(return_annotation=inspect.Signature.empty)
        return None if self.rows is None else _signature(self.rows)

    def check(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise the TypeError that a direct call would raise; `name` is the function's.

        Notes
        -----
        The texts are those of `inspect.Signature.bind`, as in Ray. Of a method they say what its first argument is.
        """
        if not self._accepts(args, kwargs):
            if self.wrapper is not None and self.wrapper._accepts(args, kwargs):
                return  # It may change them: only what it calls can tell.
            try:
                _signature(self.rows or ()).bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{name}() {error}{_NO_SELF if self.names[:1] == ['self'] else ''}") from None
            # Python 3.13.0 lets a keyword of the same name, which goes to `**`, pass for a positional-only parameter.
            missing = next(key for key, kind, required in (self.rows or ())[len(args) :] if required)
            raise TypeError(f"{name}() missing a required positional-only argument: {missing!r}")

    def check_buffers(self, name: str, written: Iterable[Any]) -> None:
        """Raise a ValueError if `writable` or `inout` names a parameter that is not there.

        Parameters
        ----------
        name
            The function's.
        written
            The values of the options.
        """
        if self.rows is None:
            return
        named = {row[0] for row in self.rows if row[1] not in (_REST, _KEYWORDS)}
        for option in written:
            for which in option if isinstance(option, list | tuple) else ():
                known = 0 <= which < self.most if isinstance(which, int) else which in named or self._keywords
                if not known:
                    raise ValueError(
                        f"writable and inout name {which!r}, which is not a parameter of {name}(); it has "
                        f"{', '.join(map(repr, self.names)) or 'none'}."
                    )

    def _accepts(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Tell whether the arguments are right; False: probably not."""
        given = len(args)
        if given > self.most:
            return False
        rows = self.rows
        if rows is None:
            return True
        index = self._index
        for key in kwargs:
            at = index.get(key)
            if at is None:
                if not self._keywords:
                    return False
            elif at < given and rows[at][1] == _NAMED:
                return False
        for at, (key, kind, required) in enumerate(rows):
            if required and (at >= given or kind == _KEYWORD_ONLY) and (kind == _POSITIONAL_ONLY or key not in kwargs):
                return False
        return True

    def __repr__(self) -> str:
        return f"<Parameters {'unreadable' if self.rows is None else _signature(self.rows)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Parameters, (self.rows, self.wrapper)


def read(function: Callable[..., Any], *, drop_first: bool = False) -> Parameters:
    """Return the parameters of a function or class; everything is accepted where they cannot be read.

    Parameters
    ----------
    function
        Builtins, partials, Cython functions and classes included.
    drop_first
        Leave out ``self``.
    """
    wrapper = None
    if hasattr(function, "__wrapped__"):
        wrapper = Parameters(_rows(function, drop_first, follow_wrapped=False))
    return Parameters(_rows(function, drop_first), wrapper)


def _rows(function: Callable[..., Any], drop_first: bool, *, follow_wrapped: bool = True) -> tuple[Row, ...] | None:
    try:
        found = list(inspect.signature(function, follow_wrapped=follow_wrapped).parameters.values())
    except (TypeError, ValueError):  # A builtin or a Cython function without a signature.
        return None
    if drop_first and found and int(found[0].kind) in (_POSITIONAL_ONLY, _NAMED):
        del found[0]
    return tuple(
        (p.name, int(p.kind), p.default is inspect.Parameter.empty and int(p.kind) not in (_REST, _KEYWORDS))
        for p in found
    )


@functools.lru_cache(maxsize=256)
def _signature(rows: tuple[Row, ...]) -> inspect.Signature:
    empty = inspect.Parameter.empty
    kinds = {int(kind): kind for kind in (getattr(inspect.Parameter, name) for name in _KIND_NAMES)}
    return inspect.Signature(
        [
            inspect.Parameter(name, kinds[kind], default=empty if required or kind in (_REST, _KEYWORDS) else ...)
            for name, kind, required in rows
        ]
    )


_KIND_NAMES = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD", "VAR_POSITIONAL", "KEYWORD_ONLY", "VAR_KEYWORD")
