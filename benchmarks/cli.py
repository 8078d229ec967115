"""The command line: ``python -m benchmarks``, which is what ``make bench`` runs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import growth, quick, report, rows, runner
from benchmarks.bounded_by import BOUNDED_BY
from benchmarks.contenders import CONTENDERS
from benchmarks.model import Results, Row

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
SECONDS = 0.4


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and show it."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # also in the background: every process that was started is ended
        signal.signal(number, signal.default_int_handler)
    if options.list:
        for row in rows.ROWS:
            print(f"{row.key:20} {row.name}")
        return
    if options.quick:
        quick.main(facts(), options.update_baseline)
        return
    if options.growth is not None:
        growth.main(options.growth, options.workers, facts(), tell)
        return
    chosen = rows.select(options.rows)
    contenders = [CONTENDERS[key] for key in options.only or CONTENDERS]
    print(" · ".join(facts().values()), file=sys.stderr)
    start, load_before = time.monotonic(), os.getloadavg()[0]
    results = runner.run(
        chosen,
        contenders,
        rounds=options.rounds,
        seconds=SECONDS * options.scale,
        workers=options.workers,
        budget=options.budget,
        progress=tell,
        detail=tell if options.verbose else lambda line: None,
    )
    took = time.monotonic() - start
    names = {each.key: each.name for each in CONTENDERS.values()}
    for lines in (report.table(chosen, results, names), report.bounds(chosen, results)):
        if len(lines) > 1:
            print(report.plain(lines), end="\n\n")
    if not options.rows and not options.only:
        versions = {each.key: version for each in contenders if (version := each.version())}
        how = (
            f"{options.rounds} rounds (fewer of who is too slow), one contender at a time; "
            f"{SECONDS * options.scale:g} s a row; {options.workers} workers; {took:.0f} s in all"
        )
        load = f"{load_before:.1f} before, {os.getloadavg()[0]:.1f} at the end"
        text = report.document(chosen, results, names, facts() | {"load": load}, versions, how, BOUNDED_BY)
        (HERE / "RESULTS.md").write_text(text)
    for line in [*report.summary(chosen, results, names), *report.problems(chosen, results, names)]:
        print(line)
    print(f"{took:.0f} s, {save(chosen, results, options, took)}", file=sys.stderr)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", nargs="+", default=[], metavar="KEY", help="rows whose key begins with this")
    parser.add_argument("--only", nargs="+", default=[], choices=list(CONTENDERS), help="only these contenders")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender has its turn")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies how long each row is measured")
    parser.add_argument("--budget", type=float, default=1_200, help="seconds that all rounds together may take")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="half a minute: against a loop in pure Python")
    parser.add_argument("--update-baseline", action="store_true", help="with --quick: store the ratios")
    parser.add_argument(
        "--growth",
        nargs="*",
        choices=list(growth.SERIES),
        help="how cost grows: all series and their pictures, or some",
    )
    parser.add_argument("--verbose", action="store_true", help="tell each figure when it is there")
    parser.add_argument("--list", action="store_true", help="show the rows and end")
    return parser.parse_args(arguments)


def facts() -> dict[str, str]:
    """What a reader must know about the run."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "commit": commit(),
        "machine": f"{processor()}, {os.cpu_count()} CPUs",
        "system": platform.platform(),
        "python": f"Python {platform.python_version()}",
    }


def commit() -> str:
    """Return the commit that is measured, with a plus if the sources differ from it."""
    try:
        run = subprocess.run(
            ["git", "-C", str(HERE), "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "not in a repository"
    return run.stdout.strip()


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def save(chosen: Sequence[Row], results: Results, options: argparse.Namespace, took: float) -> Path:
    """Write everything as JSON; return where."""
    OUT.mkdir(exist_ok=True)
    path = OUT / time.strftime("%Y%m%d-%H%M%S.json")
    data: dict[str, Any] = {
        "facts": facts(),
        "versions": {key: each.version() for key, each in CONTENDERS.items()},
        "options": vars(options),
        "seconds": took,
        "rows": {
            row.key: {
                "name": row.name,
                "unit": row.unit,
                "better": row.better,
                "goal": row.goal,
                "contenders": {key: asdict(cell) for key, cell in results[row.key].items()},
            }
            for row in chosen
        },
    }
    text = json.dumps(data, indent=1)
    path.write_text(text)
    (OUT / "latest.json").write_text(text)
    return path
