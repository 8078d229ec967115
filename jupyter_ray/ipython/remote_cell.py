"""What a `%%remote` cell is in the worker: code with the notebook's variables, whose last expression is the result.

A worker imports this module, so it imports nothing of the notebook's.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import sys
from inspect import CO_COROUTINE
from typing import Any


def run_cell(source: str, filename: str, variables: dict[str, Any]) -> Any:
    """Run a cell and return the value of its last expression, as IPython would show it.

    Parameters
    ----------
    source
        Plain Python. Top-level ``await`` is allowed.
    filename
        What the traceback says, such as ``Cell In[3]``.
    variables
        The notebook's variables that the cell reads. What the cell assigns stays here.
    """
    # Tracebacks quote the cell. Without a time stamp linecache takes the entry for what it is.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    # As in the notebook, definitions belong to __main__: so they are pickled by value when they leave.
    namespace = {"__name__": "__main__", "__builtins__": builtins, **variables}
    value = _run(source, filename, namespace)
    _show_figures(value)
    return value


def _run(source: str, filename: str, namespace: dict[str, Any]) -> Any:
    body = ast.parse(source, filename).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    if body:
        _evaluate(ast.Module(body, type_ignores=[]), filename, "exec", namespace)
    if isinstance(last, ast.Expr):
        return _evaluate(ast.Expression(last.value), filename, "eval", namespace)
    return None


def _evaluate(tree: ast.Module | ast.Expression, filename: str, mode: str, namespace: dict[str, Any]) -> Any:
    # Not with this module's own `annotations`: a cell's are values.
    code = compile(tree, filename, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, namespace)
    if code.co_flags & CO_COROUTINE:
        import asyncio

        return asyncio.run(result)
    return result


def _show_figures(value: Any) -> None:
    """Show the figures that the cell has left open, as a cell does; but the one that is its value, which is shown."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    pyplot = sys.modules.get("matplotlib.pyplot")
    if inline is None or pyplot is None:
        return
    if isinstance(value, pyplot.Figure):
        pyplot.close(value)
    inline.flush_figures()
