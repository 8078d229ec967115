"""How states look on the page: text for terminals, and HTML in the colours of the theme of JupyterLab or VS Code."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

GLYPHS = {
    "waiting": "◌",
    "pending": "○",
    "running": "▶",
    "blocked": "◫",
    "finished": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "lost": "✗",
    "starting": "○",
    "alive": "●",
    "restarting": "↻",
    "dead": "✗",
}
"""A shape for each state, so that nobody has to tell colours apart."""

_COLOURS = {
    "running": "var(--jp-brand-color1, var(--vscode-charts-blue, #1976d2))",
    "alive": "var(--jp-brand-color1, var(--vscode-charts-blue, #1976d2))",
    "blocked": "var(--jp-warn-color1, var(--vscode-charts-orange, #f57c00))",
    "finished": "var(--jp-success-color1, var(--vscode-charts-green, #388e3c))",
    "failed": "var(--jp-error-color1, var(--vscode-charts-red, #d32f2f))",
    "lost": "var(--jp-error-color1, var(--vscode-charts-red, #d32f2f))",
    "dead": "var(--jp-error-color1, var(--vscode-charts-red, #d32f2f))",
}
_DIM = "var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #616161))"
_LINE = (
    "font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px); "
    "line-height: var(--jp-code-line-height, 1.3); margin: 0; "
    "padding-left: min(1ch, 9 * var(--jp-code-padding, 0px))"
)
"""As plain text, which it may stand above or below: JupyterLab sets that in by one character, others by none."""

_RESULT = _LINE + "; padding-top: var(--jp-code-padding, 0)"
"""As the plain text of a result, which stands beside its prompt."""


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """What one output shows: data and metadata by MIME type."""

    data: dict[str, Any]
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def text(self) -> str:
        """The plain text."""
        return str(self.data.get("text/plain", ""))


def seconds(amount: float) -> str:
    """Return a duration as people write it: ``0.42 s``, ``12.3 s``, ``3 min 20 s``."""
    if amount < 10:
        return f"{amount:.2f} s"
    if amount < 60:
        return f"{amount:.1f} s"
    minutes, rest = divmod(int(amount), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def state_text(name: str, state: str, elapsed: float | None) -> str:
    """Return one line: glyph, name, state, time."""
    parts = [f"{GLYPHS.get(state, '·')} {name}", state]
    if elapsed is not None:
        parts.append(seconds(elapsed))
    return " · ".join(parts)


def state_html(name: str, state: str, elapsed: float | None, detail: str = "", *, style: str = _LINE) -> str:
    """Return `state_text` in colour."""
    colour = _COLOURS.get(state, _DIM)
    rest = [f'<span style="color: {colour}">{escape(state)}</span>']
    if elapsed is not None:
        rest.append(f'<span style="color: {_DIM}">{seconds(elapsed)}</span>')
    if detail:
        rest.append(f'<span style="color: {_DIM}">{escape(detail)}</span>')
    return (
        f'<div class="jupyter-ray-line" style="{style}">'
        f'<span style="color: {colour}" aria-hidden="true">{GLYPHS.get(state, "·")}</span> '
        f"{escape(name)} · {' · '.join(rest)}</div>"
    )


def counts_html(name: str, states: Mapping[str, int], detail: str = "") -> str:
    """Return one line that says how many are in which state."""
    parts = [escape(name)]
    for state in sorted(states, key=list(GLYPHS).index):
        glyph = f'<span aria-hidden="true">{GLYPHS[state]}</span>'
        parts.append(f'<span style="color: {_COLOURS.get(state, _DIM)}">{glyph} {states[state]:,} {state}</span>')
    if detail:
        parts.append(f'<span style="color: {_DIM}">{escape(detail)}</span>')
    return f'<div class="jupyter-ray-line" style="{_RESULT}">{" · ".join(parts)}</div>'


def plain_html(text: str) -> str:
    """Return one line of which no state is known, looking like the others."""
    return f'<div class="jupyter-ray-line" style="{_RESULT}">{escape(text)}</div>'


def result_html(name: str, state: str, elapsed: float | None, detail: str = "") -> str:
    """Return `state_html` as a cell's result."""
    return state_html(name, state, elapsed, detail, style=_RESULT)


def bar_html(name: str, share: float | None, counts: str) -> str:
    """Return a progress bar: its name, how much is done (None: not known), and the figures."""
    value = "" if share is None else f' value="{share:.4f}"'
    title = escape(name, quote=True) or "progress"
    return (
        f'<div class="jupyter-ray-line" style="{_LINE}">{escape(name)} '
        f'<progress max="1"{value} aria-label="{title}" style="vertical-align: middle"></progress> '
        f'<span style="color: {_DIM}">{escape(counts)}</span></div>'
    )


def state_bundle(name: str, state: str, elapsed: float | None) -> Bundle:
    """Return one line as text and as HTML."""
    return Bundle(
        {
            "text/plain": state_text(name, state, elapsed),
            "text/html": state_html(name, state, elapsed),
        }
    )


def table_text(rows: Sequence[tuple[str, str]]) -> str:
    """Return rows of a name and a value, aligned."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def table_html(rows: Iterable[tuple[str, str]]) -> str:
    """Return `table_text` as a table."""
    lines = "".join(
        f'<tr><th scope="row" style="text-align: left; font-weight: 600">{escape(name)}</th>'
        f'<td style="text-align: left; white-space: pre-wrap">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table class="jupyter-ray-status"><tbody>{lines}</tbody></table>'


def count(amount: float) -> str:
    """Return an amount without needless digits."""
    return f"{amount:g}"


def size(amount: float) -> str:
    """Return bytes as people write them."""
    for unit in ("B", "kB", "MB"):
        if abs(amount) < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
