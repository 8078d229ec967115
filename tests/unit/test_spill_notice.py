"""People are told that values go to disk, ever more seldom."""

from __future__ import annotations

import pytest

from jupyter_ray.local.server.spill import NOTICE_BYTES, Notice


def test_it_is_told_at_each_doubling() -> None:
    notice = Notice.of({"RAY_verbose_spill_logs": "100"})
    told = [notice.moved(60) for _ in range(8)]
    assert [text is not None for text in told] == [False, True, False, True, False, False, True, False]
    assert told[1] is not None
    assert "2 values" in told[1]


@pytest.mark.parametrize(("environ", "first"), [({}, NOTICE_BYTES), ({"RAY_verbose_spill_logs": "x"}, NOTICE_BYTES)])
def test_by_default_it_takes_much(environ: dict[str, str], first: int) -> None:
    notice = Notice.of(environ)
    assert notice.moved(first - 1) is None
    assert notice.moved(1) is not None


def test_it_can_be_switched_off() -> None:
    assert Notice.of({"RAY_verbose_spill_logs": "0"}).moved(1 << 50) is None
