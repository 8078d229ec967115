"""Which names a cell takes from outside: what `%%remote` must send along with it.

The analysis follows the cell in the order in which it runs. At each point it knows the names that have certainly been
assigned, and those that may have been (in one branch of an ``if``, in a loop):

- a name that is read and was never assigned before is *required*;
- one that may have been assigned by then, or that an inner scope reads (a function, a class, a comprehension) and the
  cell assigns somewhere, is *optional*: it goes along if it is there.

So ``df = load(); df.head()`` takes no ``df`` along, and ``total = total + 1`` does. What ``exec`` does inside cannot
be known.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (*_FUNCTIONS, *_COMPREHENSIONS, ast.ClassDef)


@dataclasses.dataclass(frozen=True, slots=True)
class FreeNames:
    """What code takes from outside, builtins included.

    Attributes
    ----------
    required
        Names that it cannot do without.
    optional
        Names that it reads only on some paths, or assigns itself on some.
    """

    required: frozenset[str]
    optional: frozenset[str]


def free_names(tree: ast.Module) -> FreeNames:
    """Return the names that a cell, run on its own, takes from outside."""
    flow = _Flow({name for node in tree.body for name in _binds(node)})
    flow.block(tree.body)
    if flow.star_import:  # It may bring any name.
        flow.optional |= flow.required
    return FreeNames(frozenset(flow.required - flow.optional), frozenset(flow.optional))


class _Flow(ast.NodeVisitor):
    """One walk through the cell's own level."""

    def __init__(self, bound: set[str]) -> None:
        self.required: set[str] = set()
        self.optional: set[str] = set()
        self.star_import = False
        self._bound = bound
        self._definite: set[str] = set()
        self._maybe: set[str] = set()

    def block(self, body: Iterable[ast.AST | None]) -> None:
        for node in body:
            if node is not None:
                self.visit(node)

    def _read(self, name: str) -> None:
        if name not in self._definite:
            (self.optional if name in self._maybe else self.required).add(name)

    def _assign(self, name: str) -> None:
        self._definite.add(name)
        self._maybe.add(name)

    def _branches(self, *bodies: Iterable[ast.AST | None]) -> None:
        """Walk through alternatives, one of which runs: certain is only what all of them assign."""
        before = self._definite
        outcomes = []
        for body in bodies:
            self._definite = set(before)
            body = list(body)
            self.block(body)
            if not (body and isinstance(body[-1], ast.Raise | ast.Continue | ast.Break)):
                outcomes.append(self._definite)
        self._definite = set.intersection(*outcomes) if outcomes else before

    def _scope(self, node: ast.AST) -> None:
        """Read what an inner scope takes: it may run now or after everything has been assigned."""
        for name in _taken_by(node):
            if name not in self._definite:
                (self.optional if name in self._bound else self.required).add(name)

    # Expressions

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._assign(node.id)
            return
        self._read(node.id)
        if isinstance(node.ctx, ast.Del):
            self._definite.discard(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self._branches([node.body], [node.orelse])

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self._branches(node.values[1:], [])

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.block(_around(node))
        self._scope(node)

    def _visit_comprehension(self, node: Any) -> None:
        self.visit(node.generators[0].iter)
        self._scope(node)
        self._maybe.update(_walrus(node))

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    # Statements

    def visit_Assign(self, node: ast.Assign) -> None:
        self.block([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
        self.block([node.value, node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.block([node.annotation, node.value])
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches(node.body, node.orelse)

    def _visit_for(self, node: Any) -> None:
        self.visit(node.iter)
        self._branches([node.target, *node.body], node.orelse)

    visit_For = visit_AsyncFor = _visit_for

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._branches(node.body, node.orelse)

    def _visit_try(self, node: Any) -> None:
        before = set(self._definite)
        self.block([*node.body, *node.orelse])
        outcomes = [self._definite]
        for handler in node.handlers:
            self._definite = set(before)
            self.visit(handler)
            if not isinstance(handler.body[-1], ast.Raise | ast.Continue | ast.Break):
                outcomes.append(self._definite)
        self._definite = set.intersection(*outcomes)
        self.block(node.finalbody)

    visit_Try = visit_TryStar = _visit_try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.block([node.type])
        if node.name:
            self._assign(node.name)
        self.block(node.body)
        if node.name:
            self._definite.discard(node.name)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        self._branches(*([case] for case in node.cases), [])

    def visit_match_case(self, node: ast.match_case) -> None:
        for name in _binds(node.pattern):
            self._assign(name)
        self.block([node.pattern, node.guard, *node.body])

    def _visit_import(self, node: Any) -> None:
        for name in _binds(node):
            self._assign(name)
        self.star_import = self.star_import or any(alias.name == "*" for alias in node.names)

    visit_Import = visit_ImportFrom = _visit_import

    def _visit_function(self, node: Any) -> None:
        self.block(_around(node))
        self._assign(node.name)  # Its own name is there when it runs.
        self._scope(node)

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.block(_around(node))
        self._scope(node)
        self._assign(node.name)


def _binds(node: ast.AST) -> Iterator[str]:
    """Return the names that a node of one scope assigns in that scope."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, _COMPREHENSIONS):
        yield from _walrus(node)
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            if alias.name != "*":
                yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Store):
            yield node.id
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    elif type(node).__name__ == "TypeAlias":  # Python 3.12
        yield node.name.id  # type: ignore[attr-defined]
    for child in ast.iter_child_nodes(node):
        yield from _binds(child)


def _walrus(comprehension: ast.AST) -> set[str]:
    """Return the names that ``:=`` assigns in a comprehension: they belong to the scope around it."""
    return {node.target.id for node in ast.walk(comprehension) if isinstance(node, ast.NamedExpr)}


def _taken_by(scope: ast.AST) -> set[str]:
    """Return the names that an inner scope, with those inside it, takes from outside."""
    local, body = _interior(scope)
    taken: set[str] = set()
    inner: set[str] = set()
    declared_global: set[str] = set()
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, _SCOPES):
            inner |= _taken_by(node)
            stack.extend(_around(node))
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            taken.add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            taken.add(node.target.id)
        elif isinstance(node, ast.Global):
            declared_global.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            local.difference_update(node.names)
        stack.extend(ast.iter_child_nodes(node))
    local -= declared_global
    # The functions in a class do not see the class's own names.
    return (taken - local) | inner if isinstance(scope, ast.ClassDef) else (taken | inner) - local


def _interior(scope: Any) -> tuple[set[str], Sequence[ast.AST]]:
    """Return a scope's own names, and the nodes that run inside it."""
    if isinstance(scope, _COMPREHENSIONS):
        targets = {name for generator in scope.generators for name in _binds(generator.target)}
        return targets, list(ast.iter_child_nodes(scope))
    local: set[str] = set()
    if not isinstance(scope, ast.ClassDef):
        local.update(argument.arg for argument in ast.walk(scope.args) if isinstance(argument, ast.arg))
    body = [scope.body] if isinstance(scope, ast.Lambda) else scope.body
    for node in body:
        local.update(_binds(node))
    type_parameters = getattr(scope, "type_params", [])
    local.update(parameter.name for parameter in type_parameters)
    return local, body


def _around(scope: Any) -> list[ast.AST]:
    """Return the parts of a scope that run outside it: decorators, defaults, annotations, bases."""
    if isinstance(scope, _COMPREHENSIONS):
        return []
    parts = [*getattr(scope, "decorator_list", []), *getattr(scope, "bases", []), *getattr(scope, "keywords", [])]
    if not isinstance(scope, ast.ClassDef):
        parts += [*scope.args.defaults, *(default for default in scope.args.kw_defaults if default is not None)]
        arguments = (node for node in ast.walk(scope.args) if isinstance(node, ast.arg))
        annotations = [argument.annotation for argument in arguments] + [getattr(scope, "returns", None)]
        parts += [annotation for annotation in annotations if annotation is not None]
    return parts
