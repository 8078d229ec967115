"""The arithmetic of the benchmarks: ratios, tables, what counts as slower. Nothing is timed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import processes, quick, report
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.growth import Point, stretches, verdict
from benchmarks.model import Cell, Limit, Results, Row, Sample, best, geometric_mean, limit_of, ratio
from benchmarks.quick import Ratio
from benchmarks.rows import BY_KEY, ROWS, select
from benchmarks.runner import fits, run

RATE = Row("rate", "a rate", {}, goal=100)
TIME = Row("time", "a time", {}, unit="s", better="lower", goal=2)
NAMES = {"jupyter_ray": "jupyter_ray", "ray": "Ray", "loky": "loky", "limit": "the machine"}


def cell(*values: float, cpu: float | None = None) -> Cell:
    return Cell([Sample(value, cpu) for value in values])


def test_a_ratio_above_one_is_better_whichever_way_the_row_counts() -> None:
    assert ratio(RATE, 200, 50) == 4
    assert ratio(TIME, 2, 8) == 4
    assert ratio(TIME, 8, 2) == 0.25


def test_nothing_is_divided_by_zero() -> None:
    assert ratio(RATE, 1, 0) == float("inf")
    assert geometric_mean([]) is None


def test_the_geometric_mean_weighs_twice_as_good_and_half_as_good_alike() -> None:
    assert geometric_mean([2, 0.5]) == pytest.approx(1)


def test_the_best_is_the_highest_rate_and_the_lowest_time() -> None:
    figures = {"a": 1.0, "b": 2.0}
    assert (best(RATE, figures), best(TIME, figures), best(RATE, {})) == ("b", "a", None)


@pytest.mark.parametrize(("limit", "expected"), [(Limit("hop", 2), 20), (Limit("hop", 2, inverse=True), 0.2)])
def test_a_physical_limit_is_a_measured_figure_times_a_factor(limit: Limit, expected: float) -> None:
    row = Row("row", "row", {}, limit=limit)
    assert limit_of(row, {"hop": {"limit": cell(9, 10, 30)}}) == pytest.approx(expected)
    assert limit_of(row, {}) is None


def test_the_median_of_the_rounds_counts_and_the_range_is_shown() -> None:
    assert report.figure(RATE, cell(90, 1_000, 120)) == "120 (90.0–1,000)"
    assert report.figure(TIME, cell(0.5)) == "0.5 s"


def test_why_there_is_no_figure_is_said() -> None:
    assert report.figure(RATE, Cell(problem="not installed")) == "not installed"
    assert report.figure(RATE, Cell(problem="ValueError: no")) == "failed"
    assert report.figure(RATE, None) == "–"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234567, "1,230,000"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.0123"), (0, "0")],
)
def test_numbers_have_three_digits_that_count(value: float, expected: str) -> None:
    assert report.number(value) == expected


def test_the_table_has_a_line_per_row_with_ratios_and_the_share_of_the_goal() -> None:
    results: Results = {
        "rate": {"jupyter_ray": cell(50), "ray": cell(10), "loky": cell(100)},
        "time": {"jupyter_ray": cell(1), "ray": Cell(problem="not installed")},
    }
    head, rate, time = report.table([RATE, TIME], results, NAMES)
    assert head == [
        "row", "jupyter_ray", "Ray", "loky", "limit", "to Ray", "to the best peer", "goal", "reached",
    ]  # fmt: skip
    assert rate == ["a rate", "50.0", "10.0", "100", "–", "5.00×", "0.5× loky", "100", "✗ 0.5×"]
    assert time == ["a time", "1.00 s", "not installed", "–", "–", "–", "–", "2.00", "✓ 2.00×"]


def test_the_summary_names_the_rows_that_fall_short() -> None:
    bounded = Row("bounded", "near the limit", {}, limit=Limit("copy"))
    results: Results = {
        "rate": {"jupyter_ray": cell(50), "ray": cell(25), "loky": cell(100)},
        "time": {"jupyter_ray": cell(1), "ray": cell(8)},
        "bounded": {"jupyter_ray": cell(8), "ray": cell(4)},
        "copy": {"limit": cell(10)},
    }
    lines = report.summary([RATE, TIME, bounded], results, NAMES)
    assert lines == [
        "Geometric mean to Ray: 3.17× over 3 rows.",
        "Less than 5 times Ray, and not within 1.5 times of the physical limit either: a rate (2.00×).",
        "Slower than a peer: a rate (loky, 0.5×).",
        "Below the goal: a rate (0.5×).",
    ]


def test_failures_are_listed_once_per_contender_and_reason() -> None:
    results: Results = {
        "rate": {"ray": Cell(problem="stuck"), "loky": Cell(problem="not installed")},
        "time": {"ray": Cell(problem="stuck")},
    }
    assert report.problems([RATE, TIME], results, NAMES) == ["Ray: stuck (a rate; a time)"]


def test_cpu_time_is_told_in_microseconds_per_unit() -> None:
    results: Results = {"rate": {"jupyter_ray": cell(1, cpu=50e-6), "ray": cell(1, cpu=400e-6)}}
    assert report.cpu_table([RATE], results, NAMES) == [
        ["row", "jupyter_ray", "Ray", "to Ray"],
        ["a rate", "50.0", "400", "8.00×"],
    ]


def test_the_document_holds_the_tables_and_says_what_holds_back_only_rows_that_fall_short() -> None:
    results: Results = {"rate": {"jupyter_ray": cell(50)}, "time": {"jupyter_ray": cell(1)}}
    reasons = {"rate": "the wake-up of a process", "time": "nothing"}
    text = report.document([RATE, TIME], results, NAMES, {"machine": "a cloud"}, {"ray": "2.60.0"}, "5 rounds", reasons)
    assert "- machine: a cloud\n- versions: Ray 2.60.0\n- 5 rounds\n" in text
    assert "| a rate | 50.0 | – | 100 | ✗ 0.5× |" in text
    assert "- **a rate**: the wake-up of a process" in text
    assert "nothing" not in text


def test_what_makes_us_slower_than_a_peer_is_said_too() -> None:
    results: Results = {"time": {"jupyter_ray": cell(1), "loky": cell(0.5)}}
    assert report.quicker_peer(TIME, results["time"]) == ("loky", 0.5)
    text = report.document([TIME], results, NAMES, {}, {}, "5 rounds", {"time": "it starts two processes"})
    assert "- **a time**: it starts two processes" in text


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert report.markdown([["a", "b"], ["x|y", "1"]]) == "| a | b |\n|---|---:|\n| x\\|y | 1 |"


def test_every_row_is_offered_by_somebody_and_every_limit_is_a_row_of_the_machine() -> None:
    families = {family for each in CONTENDERS.values() for family in each.families}
    assert len({row.key for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row.work, row.key
        assert set(row.work) <= families, row.key
        if row.limit:
            assert set(BY_KEY[row.limit.row].work) == {"limit"}, row.key


def test_rows_are_chosen_by_how_their_keys_begin_and_bring_their_limits() -> None:
    assert [row.key for row in select(["actor_sync", "put_l"])] == [
        "actor_sync", "put_large", "put_large_clients", "hops_direct", "memcpy_warm", "memcpy_warm_two",
    ]  # fmt: skip
    assert select([]) == list(ROWS)
    with pytest.raises(SystemExit, match=r"no row that begins with 'nonsense'.*tasks_sync"):
        select(["nonsense"])


def test_a_contender_that_is_missing_is_shown_as_not_installed_and_started_by_nobody() -> None:
    class Never:
        def __init__(self, workers: int) -> None:
            raise AssertionError("must not be started")

    missing: Any = Contender("gone", "Gone", "surely-no-such-package", ("pool",), Never)  # type: ignore[arg-type]
    row = BY_KEY["tasks_sync"]
    results = run([row], [missing], rounds=2, seconds=0.1, workers=1)
    assert results == {"tasks_sync": {"gone": Cell(problem="not installed")}}


def test_a_contender_gets_another_turn_while_it_fits_into_the_budget() -> None:
    assert fits(1_000, 200, 1_200)
    assert not fits(1_000, 201, 1_200)


def test_the_quick_mode_divides_by_the_loop_before_and_after() -> None:
    loops = [Sample(900, 1e-3), Sample(1_100, 3e-3)]
    found = quick.ratio(RATE, Sample(2_000, 4e-3), loops)
    assert found == Ratio(pytest.approx(2), pytest.approx(0.5))  # type: ignore[arg-type]
    assert quick.ratio(RATE, Sample(2_000), loops).cpu is None


def test_of_several_rounds_the_best_counts_each_way_of_counting_for_itself() -> None:
    assert quick.best([Ratio(1, 5), Ratio(2, 4), Ratio(1.5, None)]) == Ratio(2, 5)
    assert quick.best([Ratio(1, None)]) == Ratio(1, None)


@pytest.mark.parametrize(
    ("now", "busy", "line"),
    [
        (Ratio(0.76, 1), False, None),
        (Ratio(3, 0.1), False, None),
        (Ratio(0.7, 0.7), True, "warning: row is 30% slower than stored, and costs more CPU time"),
        (Ratio(0.7, 0.9), False, "warning: row is 30% slower than stored, at the same CPU time: something waits"),
        (Ratio(0.7, None), True, "note: row is 30% slower than stored, at the same CPU time, on a busy machine"),
        (None, False, "warning: row could not be measured"),
    ],
)
def test_a_drop_of_more_than_a_quarter_is_told_and_what_kind_it_is(
    now: Ratio | None, busy: bool, line: str | None
) -> None:
    measured = {} if now is None else {"row": now}
    assert quick.compare(measured, {"row": Ratio(1, 1)}, busy) == ([] if line is None else [line])


def test_ratios_are_stored_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert quick.load(path) == {}
    quick.store({"row": Ratio(1.234567, None)}, {"machine": "a cloud"}, path)
    assert quick.load(path) == {"row": Ratio(1.235, None)}
    assert json.loads(path.read_text())["facts"] == {"machine": "a cloud"}


def test_the_stored_ratios_are_those_of_the_rows_that_the_quick_mode_measures() -> None:
    assert list(quick.load()) == list(quick.ROWS)
    assert all(BY_KEY[key].unit == "/s" for key in quick.ROWS)


def test_growth_measures_the_last_stretch_before_each_size() -> None:
    assert list(stretches([10, 100, 1_000], 30)) == [(0, 10, 10), (60, 30, 100), (870, 30, 1_000)]


@pytest.mark.parametrize(("last", "word"), [(1.4, "flat"), (1.6, "not flat")])
def test_growth_is_flat_while_the_last_unit_costs_at_most_half_more_than_the_median(last: float, word: str) -> None:
    points = [Point(size, cost, cost, 0.0) for size, cost in ((10, 1.0), (100, 1.0), (1_000, last))]
    assert f"({word}: {last:.2f} times the median at the end)" in verdict("tasks", points)
    assert verdict("tasks", []) == "tasks: nothing was measured"


def test_marked_processes_and_their_children_are_found_and_ended() -> None:
    mark = f"test-{os.getpid()}"
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'], env={})"
    with subprocess.Popen(
        [sys.executable, "-c", program], env=processes.environment(mark), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        found = processes.marked(mark)
        assert len(found) == 2  # the child carries no mark
        assert parent.pid in {process.pid for process in found}
        assert processes.memory(found) > 0
        assert set(processes.clocks(found)) == {process.pid for process in found}
        assert processes.end(mark, patience=0.0) == 2
    assert processes.marked(mark) == []
