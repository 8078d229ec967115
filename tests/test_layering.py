"""The architecture, asserted: imports go down only, there are no cycles, and no module outgrows a reader's head.

The table is that of the design: each row says which modules form a layer and what that layer may import. Every import
counts, also one inside a function or under TYPE_CHECKING, except where a row says `lazy`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "jupyter_ray"
MAX_LINES = 450
LONG_MODULES: dict[str, str] = {}
"""Modules that may be longer than `MAX_LINES`, each with its reason."""

L0 = (
    "_version",
    "alias",
    "deprecation",
    "environments",
    "exceptions",
    "ids",
    "labels",
    "not_offered",
    "options",
    "resources",
    "spelling",
    "stand_ins",
    "config",
    "events",
    "interrupts",
    "bell",
    "task_errors",
    "portable_errors",
    "by_value",
)
L1 = ("engine",)
SHARED = (
    "local.definitions", "local.library", "local.engine.calls", "local.protocol.messages", "local.serialization",
    "local.worker.calling", "local.worker.output",
)  # fmt: skip
RAYS_NAMES = (
    "_common", "_private", "_raylet", "actor", "autoscaler", "cloudpickle", "cluster_utils", "experimental",
    "job_config", "remote_function", "runtime_context", "runtime_env", "types", "util",
)  # fmt: skip


class Layer(NamedTuple):
    """What belongs to a layer, by dotted prefix, and what it may import besides itself."""

    name: str
    members: tuple[str, ...]
    may_import: tuple[str, ...]
    lazy: tuple[str, ...] = ()  # only inside functions


LAYERS = (
    Layer("L0 vocabulary", L0, ()),
    Layer("L1 port", L1, L0),
    Layer("L2 api", ("api",), L1 + L0),
    Layer("L2 local engine", ("local",), L1 + L0),
    # What both engines share: how code, arguments and errors are pickled, and what a worker does around a call.
    Layer("L2 Ray engine", ("ray_cluster",), (*SHARED, *L1, *L0)),
    Layer("L2 monitor", ("monitor",), L0),
    Layer("L3 notebook", ("ipython",), ("api", "monitor", *L1, *L0)),
    Layer("server extension", ("server_extension",), ()),
    # The module names under which Ray's users know parts of the interface: `from jupyter_ray.actor import ...`.
    Layer("Ray's names", RAYS_NAMES, ("api", *L1, *L0)),
    Layer(
        "face",
        ("",),
        (*RAYS_NAMES, "api", *L1, *L0),
        lazy=("ipython",),
    ),
)

# Inside local/: a module may import those of earlier rows and of its own row, never of a later one. Every module must
# have its place, and the longest prefix that fits decides it.
LOCAL_ORDER = (
    ("local.protocol",),
    ("local.serialization", "local.scheduler"),
    (
        "local.store",
        "local.watch",
        "local.definitions",
        "local.library",
        "local.turns",
        "local.vigil",
        "local.cgroups",
        "local.search_path",
    ),
    ("local.transport",),
    ("local.client", "local.launcher", "local.joining"),
    ("local.engine",),
    ("local.worker",),
    ("local.server",),
)
SCHEDULER_ORDER = (
    (
        "local.scheduler.states",
        "local.scheduler.ledger",
        "local.scheduler.room",
    ),  # pure; a record holds its allocation
    (
        "local.scheduler.stimuli",
        "local.scheduler.digests",
        "local.scheduler.commands",
        "local.scheduler.records",
        "local.scheduler.errors",
    ),
    ("local.scheduler.session_state",),
    ("local.scheduler.step",),
    ("local.scheduler.memory",),
    (
        "local.scheduler.history",
        "local.scheduler.unseen",
        "local.scheduler.lineage",
        "local.scheduler.definitions",
        "local.scheduler.handles",
        "local.scheduler.tables",
        "local.scheduler.queries",
        "local.scheduler.why",
        "local.scheduler.crowd",
        "local.scheduler.starved",
        "local.scheduler.expendable",
        "local.scheduler.deadlock",
        "local.scheduler.outlook",
        "local.scheduler.stories",
    ),
    (
        "local.scheduler.dependencies",
        "local.scheduler.endings",
        "local.scheduler.groups",
        "local.scheduler.placement",
        "local.scheduler.pauses",
        "local.scheduler.requests",
        "local.scheduler.streams",
    ),
    ("local.scheduler.actors", "local.scheduler.inheritance"),
    (
        "local.scheduler.blocking",
        "local.scheduler.recovery",
        "local.scheduler.submission",
        "local.scheduler.transitions",
        "local.scheduler.direct",
    ),
    ("local.scheduler.jobs",),
    ("local.scheduler.said", "local.scheduler.happened"),
    ("local.scheduler.core", "local.scheduler.invariants"),
)

# The scheduler decides; it never acts, reads a clock or throws dice, so that every schedule can be replayed.
IMPURE = {
    "asyncio", "concurrent", "multiprocess", "multiprocessing", "os", "random", "secrets", "select", "selectors",
    "signal", "socket", "subprocess", "tempfile", "threading", "time", "uuid", "uvloop",
}  # fmt: skip


class Import(NamedTuple):
    """One import statement of one module: the absolute name it asks for, and whether a function delays it."""

    name: str
    line: int
    in_function: bool
    type_checking: bool


def _module_name(path: Path) -> str:
    """Name a file of the package relative to it: `local.store`, or the empty string for the package itself."""
    parts = list(path.relative_to(ROOT / PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


@cache
def _modules() -> dict[str, Path]:
    return {
        _module_name(path): path
        for path in sorted((ROOT / PACKAGE).rglob("*.py"))
        if "labextension" not in path.parts  # the built panel
    }


def _imports(module: str) -> Iterator[Import]:
    path = _modules()[module]
    package = [PACKAGE, *module.split(".")] if module else [PACKAGE]
    if path.name != "__init__.py":
        package.pop()

    def walk(node: ast.AST, in_function: bool, type_checking: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function, type_checking)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            for alias in node.names:
                name = f"{source}.{alias.name}"
                inside = name.removeprefix(f"{PACKAGE}.")
                is_module = name.startswith(f"{PACKAGE}.") and inside in _modules()
                yield Import(name if is_module else source, node.lineno, in_function, type_checking)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in node.body:
                yield from walk(statement, in_function, True)
            for statement in node.orelse:
                yield from walk(statement, in_function, type_checking)
        else:
            inner = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from walk(child, inner, type_checking)

    yield from walk(ast.parse(path.read_text(encoding="utf-8"), str(path)), False, False)


def _internal(module: str) -> Iterator[tuple[str, Import]]:
    """The package's own modules that `module` imports, as names relative to the package."""
    for found in _imports(module):
        if found.name == PACKAGE:
            yield "", found
        elif found.name.startswith(f"{PACKAGE}."):
            yield found.name.removeprefix(f"{PACKAGE}."), found


def _is_under(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or (prefix and module.startswith(f"{prefix}.")) for prefix in prefixes)


def _where(module: str, found: Import) -> str:
    return f"{_modules()[module].relative_to(ROOT)}:{found.line}"


def _rank(module: str, order: tuple[tuple[str, ...], ...]) -> int | None:
    """The row of `order` with the longest prefix of `module`; None where no row names it."""
    best, rank = "", None
    for number, row in enumerate(order):
        for prefix in row:
            if _is_under(module, (prefix,)) and len(prefix) > len(best):
                best, rank = prefix, number
    return rank


def test_every_module_has_a_layer() -> None:
    homeless = [name for name in _modules() if sum(_is_under(name, layer.members) for layer in LAYERS) != 1]
    assert not homeless, f"no layer, or more than one, claims {homeless}: add them to LAYERS as the design has it"


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name.replace(" ", "-"))
def test_imports_go_down_only(layer: Layer) -> None:
    wrong = []
    for module in _modules():
        if not _is_under(module, layer.members):
            continue
        for target, found in _internal(module):
            if _is_under(target, layer.members) or _is_under(target, layer.may_import):
                continue
            if found.in_function and _is_under(target, layer.lazy):
                continue
            wrong.append(f"{_where(module, found)} imports {target or PACKAGE}")
    assert not wrong, f"{layer.name} may import {layer.may_import}, but\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("package", "order"), [("local", LOCAL_ORDER), ("local.scheduler", SCHEDULER_ORDER)], ids=["local", "scheduler"]
)
def test_the_order_inside_the_local_engine(package: str, order: tuple[tuple[str, ...], ...]) -> None:
    wrong = []
    for module in _modules():
        if module == package or not _is_under(module, (package,)):
            continue
        own = _rank(module, order)
        if own is None:
            wrong.append(f"{module} has no place: put it into the row of the order where it belongs")
            continue
        for target, found in _internal(module):
            other = _rank(target, order)
            if other is not None and other > own:
                wrong.append(f"{_where(module, found)} imports {target}, which comes later")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_the_root_package() -> None:
    wrong = [_where(module, found) for module in _modules() for target, found in _internal(module) if not target]
    assert not wrong, f"these import {PACKAGE} itself; import the module that has the name:\n" + "\n".join(wrong)


def test_there_are_no_import_cycles() -> None:
    graph = {name: {target for target, _ in _internal(name) if target in _modules()} for name in _modules()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "import cycle: " + " → ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in sorted(graph[name] - {name}):
                visit(target, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_the_scheduler_core_is_pure() -> None:
    wrong = [
        f"{_where(module, found)} imports {found.name}"
        for module in _modules()
        if _is_under(module, ("local.scheduler",))
        for found in _imports(module)
        if found.name.split(".")[0] in IMPURE and not found.type_checking
    ]
    assert not wrong, "only local/server touches sockets, clocks, processes and chance:\n" + "\n".join(wrong)


def test_the_real_ray_is_imported_by_its_engine_alone_and_that_by_its_name() -> None:
    outside = [module for module in _modules() if not _is_under(module, ("ray_cluster",))]
    wrong = [
        _where(module, found)
        for module in outside
        for found in _imports(module)
        if found.name.split(".")[0] == "ray" or found.name.startswith(f"{PACKAGE}.ray_cluster")
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_fit_in_the_head() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in _modules().items()}
    too_long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES and name not in LONG_MODULES}
    assert not too_long, f"past {MAX_LINES} lines a module is two modules: {too_long}"
    excused = [name for name in LONG_MODULES if lengths.get(name, 0) <= MAX_LINES]
    assert not excused, f"no longer too long: take them out of LONG_MODULES: {excused}"
