"""Who may hold what: the one place where amounts of resources change hands.

The machine is one ledger; each bundle of a placement group is another, over what it holds of the machine's.

Two rules. The sum of what is held never exceeds the total. GPUs and other accelerators are devices: a whole number of
them takes devices that nobody uses, a fraction shares one device, the fullest that has room.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from jupyter_ray.resources import GPU, PARTS, Demand, describe


class Allocation(msgspec.Struct):
    """What one holder has of a ledger: parts by resource, and by kind of accelerators parts by device."""

    ledger: Ledger
    held: Demand
    devices: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)

    @property
    def ids(self) -> dict[str, list[str]]:
        """The ids of the devices in it, by kind."""
        ids = self.ledger.ids
        return {kind: [ids[kind][index] for index in sorted(parts)] for kind, parts in self.devices.items()}

    @property
    def gpus(self) -> list[str]:
        """The ids of the GPUs in it."""
        return self.ids.get(GPU, [])

    def lend(self, demand: Demand) -> None:
        """Give back `demand`, a part of this without devices, maybe only for a while."""
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

    def release_but_devices(self) -> bool:
        """Give back what is no device; return whether anything is left."""
        self.lend({name: parts for name, parts in self.held.items() if name not in self.devices})
        return bool(self.devices)

    def release(self) -> None:
        """Give back all; it is empty afterwards."""
        ledger = self.ledger
        for name, parts in self.held.items():
            ledger.free[name] += parts
        for kind, devices in self.devices.items():
            for index, parts in devices.items():
                ledger.devices[kind][index] += parts
        self.held.clear()
        self.devices.clear()


class Ledger:
    """Totals, what is free, and the free parts of each device.

    Parameters
    ----------
    total
        Parts of 1/10,000, by resource.
    ids
        The devices by kind, such as ``GPU``, whose total they are.
    """

    __slots__ = ("devices", "free", "ids", "total")

    def __init__(self, total: Demand | None = None, ids: Mapping[str, list[str]] | None = None) -> None:
        self.total: Demand = dict(total or {})
        self.free: Demand = dict(self.total)
        self.ids = dict(ids or {})
        self.devices = {kind: [PARTS] * len(each) for kind, each in self.ids.items()}

    @classmethod
    def over(cls, allocation: Allocation) -> Ledger:
        """Return a ledger of what `allocation` holds."""
        ledger = cls(allocation.held, allocation.ids)
        ledger.devices = {
            kind: [devices[index] for index in sorted(devices)] for kind, devices in allocation.devices.items()
        }
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
        for kind in self.ids:  # noqa: SIM110 - as above
            if kind in demand and self._pick(kind, demand[kind]) is None:
                return False
        return True

    def acquire(self, demand: Demand) -> Allocation | None:
        """Take `demand`; None if it cannot be met now."""
        if not self.fits(demand):
            return None
        taken: dict[str, dict[int, int]] = {}
        for kind in self.ids:
            if kind in demand:
                taken[kind] = self._pick(kind, demand[kind]) or {}
                for index, parts in taken[kind].items():
                    self.devices[kind][index] -= parts
        for name, parts in demand.items():
            self.free[name] -= parts
        return Allocation(self, dict(demand), taken)

    def _pick(self, kind: str, parts: int) -> dict[int, int] | None:
        if parts >= PARTS:
            whole = [index for index, free in enumerate(self.devices[kind]) if free == PARTS]
            count = -(-parts // PARTS)
            return dict.fromkeys(whole[:count], PARTS) if len(whole) >= count else None
        rooms = [(free, index) for index, free in enumerate(self.devices[kind]) if free >= parts]
        return {min(rooms)[1]: parts} if rooms else None

    def __repr__(self) -> str:
        return f"<Ledger: {describe(self.free)} free of {describe(self.total)}>"
