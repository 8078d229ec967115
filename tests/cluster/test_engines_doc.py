"""docs/engines.md lists every test of the contract that is true of the local engine alone, with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- begin: local_only -->", "<!-- end: local_only -->"


def _reason(node: ast.expr, constants: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "local_only":
        [argument] = node.args
        assert isinstance(argument, ast.Constant), "the reason is a text, as it stands in the document"
        return str(argument.value)
    return None


def _all_reasons(node: ast.expr) -> list[str]:
    parts = [part for part in ast.walk(node) if isinstance(part, ast.expr)]
    return [reason for part in parts if (reason := _reason(part, {})) is not None]


def marked() -> Iterator[tuple[str, str, str]]:
    """Yield file, test and reason of each test that is left out on the Ray engine."""
    for path in sorted((ROOT / "tests" / "contract").glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants: dict[str, str] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                reason = _reason(node.value, {})
                if reason is not None:
                    constants[node.targets[0].id] = reason
                if node.targets[0].id == "pytestmark":
                    yield from ((path.name, "test_*", found) for found in _all_reasons(node.value))
        for function in (each for each in tree.body if isinstance(each, ast.FunctionDef)):
            for decorator in function.decorator_list:
                for part in ast.walk(decorator):
                    reason = _reason(part, constants) if isinstance(part, ast.expr) else None
                    if reason is not None:
                        yield path.name, function.name, reason
                        break


def table() -> str:
    """Return the document's table: one row for each reason."""
    rows: dict[str, list[str]] = {}
    for file, test, reason in marked():
        rows.setdefault(reason, []).append(f"`{file.removesuffix('.py')}::{test.removeprefix('test_')}`")
    lines = ["| on a Ray cluster | tests of the contract that do not apply there |", "|---|---|"]
    lines += [f"| {reason} | {', '.join(dict.fromkeys(tests))} |" for reason, tests in sorted(rows.items())]
    return "\n".join(lines)


def test_the_document_lists_what_is_left_out() -> None:
    text = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    found = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert found == table(), "run `python tests/cluster/test_engines_doc.py` to write the table anew"


if __name__ == "__main__":
    document = ROOT / "docs" / "engines.md"
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    document.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
