"""The definitions that a process was sent, unpickled at first use.

They are not held: the runtime sees to it that they stay while a call may need them, and says when they can go
(`Undefine`). So do those that their code refers to, since it holds these for them.

Owner: any thread; `_lock` guards the tables. What is let go of may end what a program has put into a function: that is
left to `release`, which is called where it disturbs nobody.
"""

from __future__ import annotations

import linecache
import pickle
import threading
from collections.abc import Callable, Iterable
from typing import Any

from jupyter_ray.config import LIBRARY_LIMIT
from jupyter_ray.engine.travel import loading_code
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.local.protocol.messages import Function

_MISSING = object()
_LARGE = 64 * 1024


class UnknownDefinitionError(RaySystemError):
    """The code of a remote function or class is not to be had."""

    def __init__(self, definition: str) -> None:
        super().__init__(
            f"The runtime no longer has the code of the definition {definition[:8]}: the session of that remote "
            "function or class has ended, or nothing refers to it any more. Define it again, or keep it where it was "
            "made."
        )


class Library:
    """The functions and classes that were shipped to this process.

    Of large ones those that were used last are kept: a cell that is run again and again makes a new one each time. What
    has been let go of is not in here any more, and can be had from the runtime.

    Parameters
    ----------
    granted
        Takes the counted ids in a definition before they are unpickled, and returns what holds them meanwhile.
    limit
        Bytes that all large ones together may have.
    """

    def __init__(self, granted: Callable[[list[bytes]], object], limit: int = LIBRARY_LIMIT) -> None:
        self._granted = granted
        self._limit = limit
        self.leaving: Callable[[], object] = self.release
        """Called when there is something to `release`."""
        self._gone: list[object] = []
        self._large: dict[str, int] = {}
        """Their sizes; what was used last comes last."""
        self._lock = threading.RLock()
        self._blobs: dict[str, bytes] = {}
        """Empty once it was unpickled."""
        self._values: dict[str, Any] = {}
        self._versions: dict[str, int] = {}

    def install(self, functions: Iterable[Function]) -> None:
        """Take definitions; a newer version replaces an older one, which may come later, with a task that waited."""
        with self._lock:
            for function in functions:
                key = function.definition
                if function.version < self._versions.get(key, 0):
                    self._take(function.blob)
                    continue
                self._remove(key)
                self._blobs[key] = function.blob
                self._versions[key] = function.version
                if len(function.blob) >= _LARGE:
                    self._large[key] = len(function.blob)
                    while len(self._large) > 1 and sum(self._large.values()) > self._limit:
                        self._remove(next(iter(self._large)))
        self.release()

    def forget(self, definitions: list[str], withdraw: Callable[[list[str]], Iterable[Function]]) -> None:
        """Let definitions go that nobody can ask for any more; `withdraw` returns those still to be installed."""
        with self._lock:
            for function in withdraw(definitions):
                self._take(function.blob)
            for each in definitions:
                self._remove(each)
                self._versions.pop(each, None)
        self.leaving()

    def _remove(self, key: str) -> None:
        if (value := self._values.pop(key, None)) is not None:
            self._gone.append(value)
        self._large.pop(key, None)
        self._take(self._blobs.pop(key, b""))

    def _take(self, blob: bytes) -> None:
        """Take what was granted with a definition that nobody has unpickled, so that it is let go of."""
        if blob and (contained := pickle.loads(blob)[0]):
            self._gone.append(self._granted(contained))

    def release(self) -> None:
        """End what was let go of, which a program may have something to say about."""
        gone, self._gone = self._gone, []
        gone.clear()

    def __contains__(self, definition: str) -> bool:
        return definition in self._blobs

    def version(self, definition: str) -> int:
        """Return the version of a definition that is here; 0 if none is."""
        return self._versions.get(definition, 0)

    def resolve(self, definition: str) -> Any:
        """Return the function or class.

        Raises
        ------
        UnknownDefinitionError
            It is not here.
        Exception
            Whatever unpickling raises: a module that cannot be imported here, say.
        """
        value = self._values.get(definition, _MISSING)
        if value is not _MISSING:
            if definition in self._large:
                self._used(definition)
            return value
        with self._lock:
            if definition in self._values:  # Another thread has just unpickled it.
                return self._values[definition]
            if definition not in self._blobs:
                raise UnknownDefinitionError(definition)
            contained, sources, code = pickle.loads(self._blobs[definition])
            held = self._granted(contained)  # Until the code holds them.
            for filename, lines in sources.items():
                linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
            loading_code(lambda: self._values.__setitem__(definition, pickle.loads(code)))
            self._blobs[definition] = b""
            del held
            return self._values[definition]

    def _used(self, definition: str) -> None:
        with self._lock:
            size = self._large.pop(definition, None)
            if size is not None:  # Else another thread has let go of it just now.
                self._large[definition] = size

    def __repr__(self) -> str:
        return f"<Library: {len(self._values)} definitions in use>"
