"""The pictures of `growth`: a column per series, time above and memory below."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.growth import Point

FLAT = 1.5
BAND, WALL, CPU = "#b0b7c3", "#1f5fa8", "#d1741c"


def draw(series: Mapping[str, Sequence[Point]], folder: Path) -> None:
    """Write growth.png and growth.svg. The band is 1.5 times to both sides of the median of CPU time, or of memory."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "growth"  # the same figures give the same file
    plt: Any = importlib.import_module("matplotlib.pyplot")
    across = -(-len(series) // 2)
    figure, axes = plt.subplots(4, across, figsize=(3.6 * across, 9.6), layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    for i, (name, points) in enumerate(series.items()):
        top, column = 2 * (i // across), i % across
        above, below = axes[top][column], axes[top + 1][column]
        for axis in (above, below):
            axis.set_visible(True)
        sizes = [point.size for point in points]
        cpu = [point.cpu * 1e6 for point in points]
        above.plot(sizes, [point.seconds * 1e6 for point in points], "o-", color=WALL, label="elapsed", markersize=4)
        above.plot(sizes, cpu, "s--", color=CPU, label="CPU, all processes", markersize=4)
        memory = [(point.memory or 0.0) / 1e3 for point in points]
        below.plot(sizes, memory, "o-", color=WALL, markersize=4)
        for axis, values in ((above, cpu), (below, memory)):
            axis.set_xscale("log")
            axis.grid(alpha=0.3)
            if not values or min(values) <= 0:
                continue
            middle = statistics.median(values)
            axis.axhspan(middle / FLAT, middle * FLAT, color=BAND, alpha=0.35, linewidth=0)
            axis.set_yscale("log")
            low, high = axis.get_ylim()
            axis.set_ylim(min(low, middle / 10), max(high, middle * 10))  # so that what is flat looks flat
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
            axis.yaxis.set_minor_formatter("")
        above.set_title(name, fontsize=9)
        below.set_xlabel("how many")
    for top in (0, 2):
        axes[top][0].set_ylabel("µs a unit")
        axes[top + 1][0].set_ylabel("kB a unit")
    axes[0][0].legend(fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "growth.png", dpi=110)
    figure.savefig(folder / "growth.svg", metadata={"Date": None})
    plt.close(figure)
