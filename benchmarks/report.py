"""Tables of results, for the terminal and for RESULTS.md: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.model import Cell, Results, Row, best, geometric_mean, limit_of, ratio

OURS = "jupyter_ray"


def number(value: float) -> str:
    """Three significant digits, without exponents, and thousands apart."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}" if value >= 1e-4 or value == 0 else f"{value:.1e}"


def figure(row: Row, cell: Cell | None, spread: bool = True) -> str:
    """The median and, in brackets, the range; or why there is none."""
    if cell is None:
        return "–"
    if not cell.samples:
        return "failed" if cell.problem not in ("", "not installed") else cell.problem or "–"
    values = cell.values
    unit = "" if row.unit == "/s" else f" {row.unit}"
    median = cell.median
    assert median is not None
    text = number(median) + unit
    if spread and len(values) > 1:
        text += f" ({number(min(values))}–{number(max(values))})"
    return text


def medians(cells: Mapping[str, Cell]) -> dict[str, float]:
    return {key: cell.median for key, cell in cells.items() if cell.median is not None}


def against(row: Row, cells: Mapping[str, Cell], other: str) -> float | None:
    """Our ratio to another contender's median."""
    found = medians(cells)
    return ratio(row, found[OURS], found[other]) if OURS in found and other in found else None


def best_peer(row: Row, cells: Mapping[str, Cell]) -> str | None:
    """Who is the best of the others, the machine itself excepted."""
    return best(row, {key: value for key, value in medians(cells).items() if key not in (OURS, "limit")})


def times(value: float | None) -> str:
    return "–" if value is None else f"{number(value)}×"


def verdict(row: Row, cells: Mapping[str, Cell]) -> str:
    """Our median as a share of the goal, with a mark."""
    mine = medians(cells).get(OURS)
    if row.goal is None or mine is None:
        return "–"
    share = ratio(row, mine, row.goal)
    return f"{'✓' if share >= 1 else '✗'} {number(share)}×"


def is_bound(row: Row) -> bool:
    """Whether the row is the machine's, not a contender's."""
    return set(row.work) == {"limit"}


def bounds(rows: Sequence[Row], results: Results) -> list[list[str]]:
    """Return head and lines of the machine's own rows."""
    found = [(row, results[row.key].get("limit")) for row in rows if is_bound(row)]
    return [["the machine", "figure"], *([row.name, figure(row, cell)] for row, cell in found if cell)]


def table(rows: Sequence[Row], results: Results, names: Mapping[str, str]) -> list[list[str]]:
    """Return head and lines: the row, everyone's figure, the bound, our ratios, the goal and how far we are."""
    rows = [row for row in rows if not is_bound(row)]
    keys = [key for key in names if key != "limit" and any(key in results[row.key] for row in rows)]
    others = [key for key in keys if key != OURS]
    head = ["row", *(names[key] for key in keys), "limit"]
    head += ["to Ray", "to the best peer"] if others else []
    head += ["goal", "reached"]
    lines = [head]
    for row in rows:
        cells = results[row.key]
        bound = limit_of(row, results)
        line = [row.name, *(figure(row, cells.get(key)) for key in keys), "–" if bound is None else number(bound)]
        if others:
            peer = best_peer(row, cells)
            to_peer = None if peer is None else against(row, cells, peer)
            line += [times(against(row, cells, "ray")), "–" if peer is None else f"{times(to_peer)} {names[peer]}"]
        lines.append([*line, "–" if row.goal is None else number(row.goal), verdict(row, cells)])
    return lines


def cpu_table(rows: Sequence[Row], results: Results, names: Mapping[str, str]) -> list[list[str]]:
    """Return head and lines: CPU microseconds per unit of all processes together, and the ratio of Ray to us."""
    rows = [row for row in rows if row.unit == "/s" and not is_bound(row)]
    keys = [key for key in names if key != "limit" and any(key in results[row.key] for row in rows)]
    lines = [["row", *(names[key] for key in keys), "to Ray"]]
    for row in rows:
        used = {key: value for key, cell in results[row.key].items() if (value := cell.cpu) is not None}
        cells = ["–" if key not in used else number(used[key] * 1e6) for key in keys]
        both = used.get(OURS) and used.get("ray")
        lines.append([row.name, *cells, times(used["ray"] / used[OURS] if both else None)])
    return lines


def enough(row: Row, cells: Mapping[str, Cell], bound: float | None) -> bool | None:
    """Whether we are 5 times better than Ray, or, where that is beyond the physical limit, within 1.5 times of it."""
    to_ray = against(row, cells, "ray")
    if to_ray is None:
        return None
    near = bound is not None and ratio(row, medians(cells)[OURS], bound) >= 1 / 1.5
    return to_ray >= 5 or near


def quicker_peer(row: Row, cells: Mapping[str, Cell]) -> tuple[str, float] | None:
    """Return the best peer of a row if it is better than we are, and how many times as good as it we are."""
    peer = best_peer(row, cells)
    value = None if not peer else against(row, cells, peer)
    return None if peer is None or value is None or value >= 1 else (peer, value)


def summary(rows: Sequence[Row], results: Results, names: Mapping[str, str]) -> list[str]:
    """Sentences on the whole: the mean ratio to Ray, the rows below a goal, the rows where a peer is better."""
    offered = [(row, results[row.key]) for row in rows]
    to_ray = [value for row, cells in offered if (value := against(row, cells, "ray")) is not None]
    mean = geometric_mean(to_ray)
    said = []
    if mean is not None:
        said.append(f"Geometric mean to Ray: {number(mean)}× over {len(to_ray)} rows.")
        few = [
            f"{row.name} ({times(against(row, cells, 'ray'))})"
            for row, cells in offered
            if enough(row, cells, limit_of(row, results)) is False
        ]
        said.append(
            f"Less than 5 times Ray, and not within 1.5 times of the physical limit either: {'; '.join(few) or 'none'}."
        )
    behind = [
        f"{row.name} ({names[found[0]]}, {times(found[1])})"
        for row, cells in offered
        if (found := quicker_peer(row, cells)) is not None
    ]
    if any(best_peer(row, cells) for row, cells in offered):
        said.append(f"Slower than a peer: {'; '.join(behind) or 'nowhere'}.")
    short = [f"{row.name} ({verdict(row, cells)[2:]})" for row, cells in offered if verdict(row, cells).startswith("✗")]
    said.append(f"Below the goal: {'; '.join(short) or 'none'}.")
    return said


def document(
    rows: Sequence[Row],
    results: Results,
    names: Mapping[str, str],
    facts: Mapping[str, str],
    versions: Mapping[str, str],
    how: str,
    bounded_by: Mapping[str, str],
) -> str:
    """Return RESULTS.md."""
    held_back = [
        f"- **{row.name}**: {bounded_by[row.key]}"
        for row in rows
        if row.key in bounded_by
        and (
            verdict(row, results[row.key]).startswith("✗")
            or enough(row, results[row.key], limit_of(row, results)) is False
            or quicker_peer(row, results[row.key]) is not None
        )
    ]
    parts = [
        "# Results",
        "Written by `make bench`; [docs/performance.md](../docs/performance.md) says how to read it and how to run it.",
        "\n".join(
            [
                *(f"- {name}: {value}" for name, value in facts.items()),
                f"- versions: {', '.join(f'{names[key]} {version}' for key, version in versions.items())}",
                f"- {how}",
            ]
        ),
        "## Row by row",
        "Median of the rounds, and the range in brackets. Units a second where none is given. *limit*: what the "
        "machine allows, measured in the same run. *to Ray*, *to the best peer*: how many times better this project "
        "is. *reached*: our figure in that of the goal.",
        markdown(table(rows, results, names)),
        "\n".join(f"- {line}" for line in summary(rows, results, names)),
        "\n".join(f"- Failed: {line}" for line in problems(rows, results, names)),
        "## What holds back the rows that fall short" if held_back else "",
        "\n".join(held_back),
        *section("CPU time", CPU_TIME, cpu_table(rows, results, names), any_cpu(results)),
        *section("The machine", "", bounds(rows, results), any("limit" in results[row.key] for row in rows)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


CPU_TIME = (
    "Microseconds of CPU that a unit costs, of all processes of the contender together: "
    "what a busy machine disturbs least."
)


def any_cpu(results: Results) -> bool:
    return any(cell.cpu is not None for cells in results.values() for cell in cells.values())


def section(title: str, text: str, lines: Sequence[Sequence[str]], known: bool) -> list[str]:
    """Return the parts of a section with a table; none if nothing of it is known."""
    return [f"## {title}", text, markdown(lines)] if known else []


def problems(rows: Sequence[Row], results: Results, names: Mapping[str, str]) -> list[str]:
    """What failed, and how: a line per contender and problem."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for key, cell in results[row.key].items():
            if cell.problem and cell.problem != "not installed":
                found.setdefault((names[key], cell.problem), []).append(row.name)
    return [f"{name}: {problem} ({'; '.join(where)})" for (name, problem), where in found.items()]


def plain(lines: Sequence[Sequence[str]]) -> str:
    """Lay a table out for the terminal."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Lay a table out for Markdown."""
    head, *body = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    rule = "|---|" + "---:|" * (len(lines[0]) - 1)
    return "\n".join([head, rule, *body])
