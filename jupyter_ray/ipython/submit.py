"""From a `%%remote` cell to a task: what it reads, what goes along, and what is wrong with it."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.core.error import UsageError

from jupyter_ray.api.remote import remote
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.travel import collecting
from jupyter_ray.ipython.free_names import FreeNames, free_names
from jupyter_ray.ipython.remote_cell import run_cell

_NOT_SENT = frozenset({"get_ipython", "exit", "quit", "open", "display"})
"""Names that IPython puts into a notebook and that mean nothing, or the builtin, elsewhere."""

_MAGIC = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?(%.*)", re.MULTILINE)
_COMMANDS = ("system", "getoutput")
_VARIABLE = re.compile(r"[{$]\s*([A-Za-z_]\w*)")
_QUERIES = ("query", "eval")
_QUERIED = re.compile(r"@\s*([A-Za-z_]\w*)")


def submit_cell(
    shell: Any, code: str, name: str, number: int, options: Mapping[str, Any], *, first_line: int
) -> ObjectRef[Any]:
    """Submit code as a task with the notebook's variables that it reads.

    Parameters
    ----------
    shell
        The IPython shell: its namespace, and its syntax.
    code
        The code as written.
    name
        Of the task.
    number
        The number of the cell, for tracebacks.
    options
        Of the task, as for `remote`.
    first_line
        The line of the cell on which `code` begins, from 1.

    Raises
    ------
    SyntaxError, NameError
        The code is wrong, or reads a variable that there is not.
    TypeError
        A variable cannot be pickled; the message names it.
    UsageError
        The code uses magics, which only the notebook has. (``!command`` runs in the task.)
    """
    filename = f"Cell In[{number}]"
    source = "\n" * (first_line - 1) + shell.transform_cell(code)
    tree = ast.parse(source, filename)
    compile(source, filename, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)  # It sees more mistakes.
    names = free_names(tree)
    if "get_ipython" in names.required and "get_ipython" not in code and _has_magics(tree):
        found = _MAGIC.search(code)
        what = f" `{found.group(1).strip()}`" if found else ""
        raise UsageError(f"magics{what} run in the notebook only: use a cell of its own.")
    named = frozenset((_named_in_commands(tree) | _named_in_queries(tree)) & shell.user_ns.keys())
    names = dataclasses.replace(names, optional=names.optional | named)
    variables = collect(shell.user_ns, shell.user_ns_hidden, names, tree)
    task = remote(run_cell).options(**options, name=name)
    task._definition.name = name  # What its errors say.
    try:
        ref = task.remote(source, filename, variables)
    except Exception as error:
        culprits = unpicklable(variables)
        if not culprits:
            raise
        needless = culprits.keys() - names.required
        if needless and needless == culprits.keys():  # It assigns them itself before it reads them, or so we hope.
            ref = task.remote(source, filename, {name: variables[name] for name in variables.keys() - needless})
        else:
            raise _unpicklable_error(culprits) from error
    assert isinstance(ref, ObjectRef)
    return ref


def _calls_of_shell(tree: ast.AST) -> Iterator[tuple[str, list[ast.expr]]]:
    """Yield what IPython makes of ``%magic`` and ``!command``: the name of the shell's method, and the arguments."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Call)
        ):
            shell = node.func.value.func
            if isinstance(shell, ast.Name) and shell.id == "get_ipython":
                yield node.func.attr, node.args


def _has_magics(tree: ast.AST) -> bool:
    return any(name not in _COMMANDS for name, _ in _calls_of_shell(tree))


def _named_in_commands(tree: ast.AST) -> set[str]:
    """Return the names that shell commands may mean by ``{name}`` and ``$name``."""
    commands = (args[0] for name, args in _calls_of_shell(tree) if name in _COMMANDS and args)
    texts = [each.value for each in commands if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return {name for text in texts for name in _VARIABLE.findall(text)}


def _named_in_queries(tree: ast.AST) -> set[str]:
    """Return the names that pandas may be told by ``@name``, in ``table.query(text)``."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute))
    asked = (part for call in calls if call.func.attr in _QUERIES for part in ast.walk(call))  # type: ignore[attr-defined]
    texts = [each.value for each in asked if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return {name for text in texts for name in _QUERIED.findall(text)}


def collect(namespace: Mapping[str, Any], hidden: Mapping[str, Any], names: FreeNames, tree: ast.AST) -> dict[str, Any]:
    """Return the variables to send, but for what is the shell's own (`hidden`).

    Raises
    ------
    NameError
        One that is required is neither there nor a builtin.
    """
    variables = {}
    for name in sorted(names.required | names.optional):
        if name in _NOT_SENT and namespace.get(name) is hidden.get(name):
            continue
        if name in namespace:
            variables[name] = namespace[name]
        elif (
            name in names.required
            and name not in _NOT_SENT
            and not hasattr(builtins, name)
            and not name.startswith("__")
        ):
            line = next((node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name), 0)
            raise NameError(
                f"name {name!r} is not defined: line {line} of the cell reads it, but there is no such variable in "
                "the notebook. (What a %%remote cell assigns stays in its task: give it back as the last expression.)",
                name=name,
            )
    return variables


def unpicklable(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that cannot be pickled, each with the reason. Slow: for the error only."""
    import cloudpickle

    culprits = {}
    for name, value in variables.items():
        try:
            collecting(functools.partial(cloudpickle.dumps, value, protocol=5, buffer_callback=lambda _: False))
        except Exception as error:
            culprits[name] = str(error) or type(error).__name__
    return culprits


def _unpicklable_error(culprits: Mapping[str, str]) -> TypeError:
    name, reason = next(iter(culprits.items()))
    others = f" (and {', '.join(list(culprits)[1:])})" if len(culprits) > 1 else ""
    return TypeError(
        f"the variable {name!r}{others}, which the cell reads, cannot be sent to a task: {reason}. Make it inside the "
        "cell, or send what it is made from."
    )


def checked_name(name: str) -> str:
    """Return the name that ``-o`` binds, if it is one."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"-o needs the name of a variable, not {name!r}.")
    return name
