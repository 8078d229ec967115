"""docs/engines.md lists the tests of the contract that do not hold on the Ray engine or through Ray Client, and why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADINGS = {"local_only": "on a Ray cluster", "not_through_client": "through Ray Client"}


def _reason(node: ast.expr, mark: str, constants: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == mark:
        [argument] = node.args
        assert isinstance(argument, ast.Constant), "the reason is a text, as it stands in the document"
        return str(argument.value)
    return None


def _all_reasons(node: ast.expr, mark: str) -> list[str]:
    parts = [part for part in ast.walk(node) if isinstance(part, ast.expr)]
    return [reason for part in parts if (reason := _reason(part, mark, {})) is not None]


def marked(mark: str) -> Iterator[tuple[str, str, str]]:
    """Yield file, test and reason of each test that has a mark."""
    for path in sorted((ROOT / "tests" / "contract").glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants: dict[str, str] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                reason = _reason(node.value, mark, {})
                if reason is not None:
                    constants[node.targets[0].id] = reason
                if node.targets[0].id == "pytestmark":
                    yield from ((path.name, "test_*", found) for found in _all_reasons(node.value, mark))
        for function in (each for each in tree.body if isinstance(each, ast.FunctionDef)):
            for decorator in function.decorator_list:
                for part in ast.walk(decorator):
                    reason = _reason(part, mark, constants) if isinstance(part, ast.expr) else None
                    if reason is not None:
                        yield path.name, function.name, reason
                        break


def table(mark: str) -> str:
    """Return the document's table of a mark: one row for each reason."""
    rows: dict[str, list[str]] = {}
    for file, test, reason in marked(mark):
        rows.setdefault(reason, []).append(f"`{file.removesuffix('.py')}::{test.removeprefix('test_')}`")
    lines = [f"| {HEADINGS[mark]} | tests of the contract that do not apply there |", "|---|---|"]
    lines += [f"| {reason} | {', '.join(dict.fromkeys(tests))} |" for reason, tests in sorted(rows.items())]
    return "\n".join(lines)


def parts(text: str, mark: str) -> tuple[str, str, str]:
    """Return what comes before a table, the table, and what comes after."""
    before, begin, rest = text.partition(f"<!-- begin: {mark} -->")
    found, end, after = rest.partition(f"<!-- end: {mark} -->")
    return before + begin, found.strip(), end + after


@pytest.mark.parametrize("mark", HEADINGS)
def test_the_document_lists_what_is_left_out(mark: str) -> None:
    _, found, _ = parts((ROOT / "docs" / "engines.md").read_text(encoding="utf-8"), mark)
    assert found == table(mark), "run `python tests/cluster/test_engines_doc.py` to write the table anew"


if __name__ == "__main__":
    document = ROOT / "docs" / "engines.md"
    for each in HEADINGS:
        before, _, after = parts(document.read_text(encoding="utf-8"), each)
        document.write_text(f"{before}\n\n{table(each)}\n\n{after}", encoding="utf-8")
