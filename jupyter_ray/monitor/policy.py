"""When the kernel may send to the panel, and what: a pure object with an injected clock.

The rules (docs/panel-protocol.md gives the reasons):

1. Before the first ``hello`` nothing is sent, but one snapshot for each announcement (start-up, a new epoch).
2. A ``hello`` is answered by a snapshot. All else is a delta, and only when something changed.
3. At most ten messages a second; at most two when the newest ``ack`` is more than 20 messages old or no client has
   spoken for 10 s.
4. A client that owes an ``ack`` for two minutes is gone, until it speaks again. Without clients, rule 1 holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the rules; times in seconds."""

    fast: float = 0.1
    slow: float = 0.5
    lag: int = 20
    silence: float = 10.0
    gone: float = 120.0
    clients: int = 64
    """More than that cannot be real: the one that was silent for longest is forgotten."""


class _Client(msgspec.Struct, kw_only=True, eq=False):
    spoke: float
    owes_since: float | None = None


NEVER: Final = float("-inf")


class SendPolicy:
    """Decides when the next message goes out, from what was sent and what the clients said.

    Parameters
    ----------
    clock
        Returns a monotonic time in seconds.
    pace
        The limits.
    """

    def __init__(self, clock: Callable[[], float], pace: Pace | None = None) -> None:
        self._clock = clock
        self._pace = pace or Pace()
        self._clients: dict[str, _Client] = {}
        self._epoch = ""
        self._seq = 0
        self._acked = 0
        self._last_sent = NEVER
        self._spoke = NEVER
        self._snapshot_due = False

    def __repr__(self) -> str:
        due = ", snapshot due" if self._snapshot_due else ""
        return f"<SendPolicy at message {self._seq}, {self._acked} acknowledged, {len(self._clients)} clients{due}>"

    @property
    def clients(self) -> int:
        """The number of clients that listen."""
        return len(self._clients)

    @property
    def acked(self) -> int:
        """The newest acknowledged message of this epoch."""
        return self._acked

    # What happened

    def announce(self, epoch: str) -> None:
        """A new stream begins, or a new way to send was found: one snapshot is due, whoever listens."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._seq = self._acked = 0
        self._snapshot_due = True

    def hello(self, client: str) -> None:
        """A client asks for a snapshot."""
        self._speak(client)
        self._acked = self._seq
        self._snapshot_due = True

    def ack(self, client: str, epoch: str, seq: int) -> None:
        """A client has drawn everything up to `seq`."""
        record = self._speak(client)
        if epoch == self._epoch and seq <= self._seq:
            self._acked = max(self._acked, seq)
            record.owes_since = None if seq == self._seq else record.spoke

    def bye(self, client: str) -> None:
        """A client closed."""
        self._clients.pop(client, None)

    def _speak(self, client: str) -> _Client:
        now = self._spoke = self._clock()
        record = self._clients.setdefault(client, _Client(spoke=now))
        record.spoke = now
        record.owes_since = None
        if len(self._clients) > self._pace.clients:
            del self._clients[min(self._clients, key=lambda key: self._clients[key].spoke)]
        return record

    def sent(self, seq: int) -> None:
        """The message `seq` goes out now."""
        self._last_sent = now = self._clock()
        self._seq = seq
        for record in self._clients.values():
            if record.owes_since is None:
                record.owes_since = now

    # What to do

    def due(self, *, changed: bool) -> float | None:
        """Return the seconds until the next message may go, 0 for now, None if there is nothing to send.

        Parameters
        ----------
        changed
            Whether there is anything new to tell.
        """
        now = self._clock()
        if not self._snapshot_due and not (changed and self._listening(now)):
            return None
        pace = self._pace
        slow = self._seq - self._acked > pace.lag or now - self._spoke > pace.silence
        return max(0.0, self._last_sent + (pace.slow if slow else pace.fast) - now)

    def take(self) -> Literal["snapshot", "delta"]:
        """Return the kind of the message that is due, which the caller now makes."""
        kind: Literal["snapshot", "delta"] = "snapshot" if self._snapshot_due else "delta"
        self._snapshot_due = False
        return kind

    def _listening(self, now: float) -> bool:
        oldest = now - self._pace.gone
        gone = [key for key, one in self._clients.items() if one.owes_since is not None and one.owes_since < oldest]
        for key in gone:
            del self._clients[key]
        return bool(self._clients)
