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
    figure, axes = plt.subplots(2, len(series), figsize=(3.1 * len(series), 5.6), layout="constrained", squeeze=False)
    for column, (name, points) in enumerate(series.items()):
        above, below = axes[0][column], axes[1][column]
        sizes = [point.size for point in points]
        cpu = [point.cpu * 1e6 for point in points]
        above.plot(sizes, [point.seconds * 1e6 for point in points], "o-", color=WALL, label="elapsed", markersize=4)
        above.plot(sizes, cpu, "s--", color=CPU, label="CPU, all processes", markersize=4)
        memory = [(point.memory or 0.0) / 1e3 for point in points]
        below.plot(sizes, memory, "o-", color=WALL, markersize=4)
        for axis, values in ((above, cpu), (below, memory)):
            positive = [value for value in values if value > 0]
            if positive:
                middle = statistics.median(positive)
                axis.axhspan(middle / FLAT, middle * FLAT, color=BAND, alpha=0.35, linewidth=0)
            axis.set_xscale("log")
            axis.set_yscale("log" if len(positive) == len(values) else "linear")
            axis.grid(alpha=0.3)
        above.set_title(name, fontsize=9)
        below.set_xlabel("how many")
    axes[0][0].set_ylabel("µs a unit")
    axes[1][0].set_ylabel("kB a unit")
    axes[0][0].legend(fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "growth.png", dpi=110)
    figure.savefig(folder / "growth.svg", metadata={"Date": None})
    plt.close(figure)
