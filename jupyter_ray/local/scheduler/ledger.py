"""Who may hold what: the one place where amounts of resources change hands.

The machine is one ledger; each bundle of a placement group is another, over what it holds of the machine's.

Two rules. The sum of what is held never exceeds the total. GPUs are devices: a whole number of GPUs takes devices
that nobody uses, a fraction shares one device, the fullest that has room.
"""

from __future__ import annotations

import msgspec

from jupyter_ray.resources import GPU, PARTS, Demand, describe


class Allocation(msgspec.Struct):
    """What one holder has of a ledger: parts by resource, and parts by device for GPUs."""

    ledger: Ledger
    held: Demand
    devices: dict[int, int] = msgspec.field(default_factory=dict)

    @property
    def gpus(self) -> list[str]:
        """The names of the GPUs in it."""
        return [self.ledger.gpus[index] for index in sorted(self.devices)]

    def lend(self, demand: Demand) -> None:
        """Give back `demand`, a part of this without GPUs, for a while."""
        free = self.ledger.free
        for name, parts in demand.items():
            self.held[name] -= parts
            if not self.held[name]:
                del self.held[name]
            free[name] += parts

    def reclaim(self, demand: Demand) -> bool:
        """Take `demand` back; False if it is not free now."""
        free = self.ledger.free
        if any(free.get(name, 0) < parts for name, parts in demand.items()):
            return False
        for name, parts in demand.items():
            free[name] -= parts
            self.held[name] = self.held.get(name, 0) + parts
        return True

    def release(self) -> None:
        """Give back all; it is empty afterwards."""
        ledger = self.ledger
        for name, parts in self.held.items():
            ledger.free[name] += parts
        for index, parts in self.devices.items():
            ledger.devices[index] += parts
        self.held.clear()
        self.devices.clear()


class Ledger:
    """Totals, what is free, and the free parts of each GPU.

    Parameters
    ----------
    total
        Parts of 1/10,000, by resource.
    gpus
        Names of the devices; their number is the total of ``GPU``.
    """

    __slots__ = ("devices", "free", "gpus", "total")

    def __init__(self, total: Demand | None = None, gpus: list[str] | None = None) -> None:
        self.total: Demand = dict(total or {})
        self.free: Demand = dict(self.total)
        self.gpus = list(gpus or [])
        self.devices = [PARTS] * len(self.gpus)

    @classmethod
    def over(cls, allocation: Allocation) -> Ledger:
        """Return a ledger of what `allocation` holds."""
        ledger = cls(allocation.held, allocation.gpus)
        ledger.devices = [allocation.devices[index] for index in sorted(allocation.devices)]
        return ledger

    def possible(self, demand: Demand) -> bool:
        """Tell whether an empty machine could meet `demand`."""
        total = self.total
        for name, parts in demand.items():  # noqa: SIM110 - half of what `all` of a generator costs
            if parts > total.get(name, 0):
                return False
        return True

    def fits(self, demand: Demand) -> bool:
        """Tell whether `demand` can be met now."""
        free = self.free
        for name, parts in demand.items():
            if free.get(name, 0) < parts:
                return False
        gpu = demand.get(GPU)
        return gpu is None or self._pick(gpu) is not None

    def acquire(self, demand: Demand) -> Allocation | None:
        """Take `demand`; None if it cannot be met now."""
        if not self.fits(demand):
            return None
        gpu = demand.get(GPU)
        devices = {} if gpu is None else (self._pick(gpu) or {})
        for index, parts in devices.items():
            self.devices[index] -= parts
        for name, parts in demand.items():
            self.free[name] -= parts
        return Allocation(self, dict(demand), devices)

    def _pick(self, parts: int) -> dict[int, int] | None:
        if parts >= PARTS:
            whole = [index for index, free in enumerate(self.devices) if free == PARTS]
            count = -(-parts // PARTS)
            return dict.fromkeys(whole[:count], PARTS) if len(whole) >= count else None
        rooms = [(free, index) for index, free in enumerate(self.devices) if free >= parts]
        return {min(rooms)[1]: parts} if rooms else None

    def __repr__(self) -> str:
        return f"<Ledger: {describe(self.free)} free of {describe(self.total)}>"
