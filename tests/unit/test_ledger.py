"""The ledger: nothing is held twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_ray.local.scheduler.ledger import Allocation, Ledger
from jupyter_ray.resources import PARTS


def test_whole_gpus_take_unused_devices_and_fractions_share_the_fullest() -> None:
    ledger = Ledger({"GPU": 3 * PARTS}, {"GPU": ["0", "1", "2"]})
    half = ledger.acquire({"GPU": PARTS // 2})
    assert half is not None
    assert half.gpus == ["0"]
    other = ledger.acquire({"GPU": PARTS // 4})
    assert other is not None
    assert other.gpus == ["0"], "a fraction goes where a fraction is"
    two = ledger.acquire({"GPU": 2 * PARTS})
    assert two is not None
    assert two.gpus == ["1", "2"]
    assert ledger.acquire({"GPU": PARTS // 2}) is None, "a quarter is left, on one device"
    half.release()
    assert ledger.acquire({"GPU": PARTS}) is None, "no device is unused"
    assert ledger.acquire({"GPU": PARTS // 2}) is not None


def test_lending_keeps_the_rest_and_reclaiming_waits_for_room() -> None:
    ledger = Ledger({"CPU": PARTS, "GPU": PARTS}, {"GPU": ["0"]})
    task = ledger.acquire({"CPU": PARTS, "GPU": PARTS})
    assert task is not None
    task.lend({"CPU": PARTS})
    assert task.held == {"GPU": PARTS}
    borrower = ledger.acquire({"CPU": PARTS})
    assert borrower is not None
    assert not task.reclaim({"CPU": PARTS})
    borrower.release()
    assert task.reclaim({"CPU": PARTS})
    assert task.held == {"CPU": PARTS, "GPU": PARTS}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["CPU", "GPU", "TPU", "x"]), st.integers(1, 3 * PARTS), st.booleans()), max_size=40
    )
)
def test_what_is_held_and_what_is_free_make_the_total(steps: list[tuple[str, int, bool]]) -> None:
    total = {"CPU": 4 * PARTS, "GPU": 2 * PARTS, "TPU": 2 * PARTS, "x": PARTS}
    ledger = Ledger(total, {"GPU": ["0", "1"], "TPU": ["0", "1"]})
    held: list[Allocation] = []
    for name, parts, gives_back in steps:
        if gives_back and held:
            held.pop().release()
        elif name not in ("GPU", "TPU") or parts <= PARTS or parts % PARTS == 0:
            allocation = ledger.acquire({name: parts})
            if allocation is not None:
                held.append(allocation)
        for each in total:
            assert sum(a.held.get(each, 0) for a in held) + ledger.free[each] == total[each]
        assert all(0 <= free <= PARTS for rooms in ledger.devices.values() for free in rooms)
    for allocation in held:
        allocation.release()
    assert ledger.free == total


def test_a_bundle_is_a_ledger_of_what_was_reserved_for_it() -> None:
    machine = Ledger({"CPU": 4 * PARTS, "GPU": 2 * PARTS}, {"GPU": ["a", "b"]})
    taken = machine.acquire({"GPU": PARTS})
    bundle = machine.acquire({"CPU": 2 * PARTS, "GPU": PARTS})
    assert taken is not None
    assert bundle is not None
    inside = Ledger.over(bundle)
    task = inside.acquire({"CPU": PARTS, "GPU": PARTS // 2})
    assert task is not None
    assert task.gpus == ["b"]
    assert inside.acquire({"CPU": 2 * PARTS}) is None
    assert machine.free == {"CPU": 2 * PARTS, "GPU": 0}
    task.release()
    assert inside.free == {"CPU": 2 * PARTS, "GPU": PARTS}
