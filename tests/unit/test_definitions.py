"""When a remote function or class is shipped, and when it is shipped again."""

from __future__ import annotations

import concurrent.futures
import gc
import linecache
import pickle
import threading
import types
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jupyter_ray.engine import context
from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.travel import note_definition
from jupyter_ray.local import definitions
from jupyter_ray.local.definitions import Exporter
from jupyter_ray.local.library import Library, UnknownDefinitionError
from jupyter_ray.local.protocol.messages import Export, Function


class Remote:
    """Like the API's remote function: pickles as the id of its definition."""

    __module__ = "jupyter_ray.api.remote"

    def __init__(self, definition: Definition) -> None:
        self.definition = definition

    def __reduce__(self) -> Any:
        assert note_definition(self.definition)
        return str, (self.definition.id,)


class Notebook:
    """A ``__main__`` of its own, in which cells run, and what was exported from it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = types.ModuleType("__main__")
        self.exports: list[Export] = []
        self.exporter = Exporter(self.exports.append)
        self.library = Library(lambda contained: None)
        self._cells = 0

    def run(self, source: str) -> None:
        self._cells += 1
        name = f"<cell {self._cells}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        exec(compile(source, name, "exec"), vars(self.module))

    def define(self, name: str) -> Definition:
        value = vars(self.module)[name]
        return Definition(value=value, name=name, is_class=isinstance(value, type))

    def ensure(self, definition: Definition) -> list[str]:
        """Ensure it, as a call does; return the names that were shipped for that."""
        before = len(self.exports)
        self.exporter.ensure(definition)
        new = self.exports[before:]
        self.library.install(Function(each.definition, each.version, each.blob) for each in new)
        return [each.name for each in new]

    def call(self, definition: Definition, *args: Any) -> Any:
        """Call it as a worker does."""
        return self.library.resolve(definition.id)(*args)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    return Notebook(monkeypatch)


def test_shipped_at_the_first_call_only(notebook: Notebook) -> None:
    notebook.run("def f(): return 1")
    f = notebook.define("f")
    assert notebook.ensure(f) == ["f"]
    assert notebook.ensure(f) == []
    assert notebook.call(f) == 1


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("x = 1\ndef f(): return x", "x = 2"),
        ("def g(): return 1\ndef f(): return g()", "def g(): return 2"),
        ("def g(): return x\nx = 1\ndef f(): return g()", "x = 2"),
        ("def f(): return (lambda: x)()\nx = 1", "x = 2"),
        ("def f():\n  class A:\n    y = x\n  return A.y\nx = 1", "x = 2"),
        ("def f(n=1): return n", "f.__defaults__ = (2,)"),
        (
            "def make(x):\n  def set(y):\n    nonlocal x; x = y\n  return (lambda: x), set\nf, set_x = make(1)",
            "set_x(2)",
        ),
        ("import functools\ndef g(x): return x + y\ny = 0\nf = functools.partial(g, 1)", "y = 1"),
    ],
)
def test_shipped_again_when_what_it_names_was_redefined(notebook: Notebook, first: str, then: str) -> None:
    notebook.run(first)
    f = notebook.define("f")
    notebook.ensure(f)
    assert notebook.ensure(f) == []
    assert notebook.call(f) == 1
    notebook.run(then)
    assert notebook.ensure(f) == [f.name]
    assert notebook.call(f) == 2
    assert notebook.exports[-1].version == 2


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("class A:\n  def m(self): return x\nx = 1\ndef f(): return A().m()", "x = 2"),
        ("class A:\n  def m(self): return 1\ndef f(): return A().m()", "A.m = lambda self: 2"),
        ("class B:\n  def m(self): return 1\nclass A(B): pass\ndef f(): return A().m()", "B.m = lambda self: 2"),
        ("class A:\n  m = staticmethod(lambda: x)\nx = 1\ndef f(): return A.m()", "x = 2"),
    ],
)
def test_shipped_again_when_a_class_that_it_names_was_changed(notebook: Notebook, first: str, then: str) -> None:
    notebook.run(first)
    f = notebook.define("f")
    notebook.ensure(f)
    assert notebook.ensure(f) == []
    notebook.run(then)
    assert notebook.ensure(f) == ["f"]
    assert notebook.call(f) == 2  # In this process that gives class A new methods, so it comes last.


def test_a_global_that_comes_later(notebook: Notebook) -> None:
    notebook.run("def f(): return later()")
    f = notebook.define("f")
    notebook.ensure(f)
    with pytest.raises(NameError):
        notebook.call(f)
    notebook.run("def later(): return 1")
    assert notebook.ensure(f) == ["f"]
    assert notebook.call(f) == 1


def test_a_change_in_place_counts_from_the_next_cell(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = ["In[1]"]
    monkeypatch.setattr(context, "_cell_source", lambda: cells[-1])
    notebook.run("xs = [1]\ndef f(): return sum(xs)")
    f = notebook.define("f")
    notebook.ensure(f)
    notebook.run("xs.append(2)")
    assert notebook.ensure(f) == []
    cells.append("In[2]")
    assert notebook.ensure(f) == ["f"]
    assert notebook.call(f) == 3
    cells.append("In[3]")
    assert notebook.ensure(f) == []


def test_mutual_recursion_ends(notebook: Notebook) -> None:
    notebook.run("def f(): return g\ndef g(): return f")
    f, g = notebook.define("f"), notebook.define("g")
    vars(notebook.module).update(f=Remote(f), g=Remote(g))
    assert notebook.ensure(f) == ["f", "g"]
    assert notebook.ensure(g) == []
    assert notebook.call(f) == g.id
    assert notebook.call(g) == f.id


def test_a_nested_definition_that_was_redefined(notebook: Notebook) -> None:
    notebook.run("x = 1\ndef inner(): return x\ndef outer(): return remote")
    inner, outer = notebook.define("inner"), notebook.define("outer")
    vars(notebook.module)["remote"] = Remote(inner)
    assert notebook.ensure(outer) == ["outer", "inner"]
    notebook.run("x = 2")
    assert notebook.ensure(outer) == ["inner"]
    notebook.run("def again(): return 3")
    again = notebook.define("again")
    vars(notebook.module)["remote"] = Remote(again)
    assert notebook.ensure(outer) == ["outer", "again"]


def test_definitions_without_a_value_are_known_elsewhere(notebook: Notebook) -> None:
    assert notebook.ensure(Definition(value=None, name="f")) == []


@pytest.mark.parametrize("value", [len, str.upper, int])
def test_what_travels_by_name(notebook: Notebook, value: Callable[..., Any]) -> None:
    definition = Definition(value=value, name="builtin")
    assert notebook.ensure(definition) == ["builtin"]
    assert notebook.library.resolve(definition.id) is value


def test_an_unpicklable_variable_is_named(notebook: Notebook) -> None:
    notebook.run("import threading\nlock = threading.Lock()\ndef f(): return lock")
    with pytest.raises(TypeError, match="the global variable 'lock'"):
        notebook.ensure(notebook.define("f"))


def test_a_large_closure_warns_and_names_the_variable(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook.run("small = b'x'\nbig = b'x' * 2_000_000\ndef f(): return big, small")
    f = notebook.define("f")
    with pytest.warns(UserWarning, match=r"'big' in it takes 1\.9 MiB") as warned:
        notebook.ensure(f)
    assert warned[0].filename == __file__
    notebook.run("small = b'y'")
    assert notebook.ensure(f) == ["f"]  # Once is enough.
    monkeypatch.setattr(definitions, "CLOSURE_LIMIT", 1_500_000)
    with pytest.raises(ValueError, match=r"^The remote function f is too large .* 'big'"):
        notebook.ensure(notebook.define("f"))
    notebook.run("class A:\n    def f(self): return big")
    with pytest.raises(ValueError, match=r"^The actor A is too large .* 'big'"):
        notebook.ensure(notebook.define("A"))
    notebook.run("def g(): return f()")
    with pytest.raises(ValueError, match=r"^The remote function g is too large .* 'big'"):
        notebook.ensure(notebook.define("g"))
    notebook.run("def f(x=big): return x")
    with pytest.raises(ValueError, match=r"^The remote function g is too large .* 'f'"):
        notebook.ensure(notebook.define("g"))


def test_the_text_of_cells_travels_along(notebook: Notebook) -> None:
    notebook.run("def f(): return 1 / 0")
    f = notebook.define("f")
    notebook.ensure(f)
    linecache.cache.pop("<cell 1>")
    notebook.library.resolve(f.id)
    assert linecache.getline("<cell 1>", 1) == "def f(): return 1 / 0"


def test_two_threads_use_a_definition_for_the_first_time(notebook: Notebook) -> None:
    notebook.run("def f(): return 1")
    f = notebook.define("f")
    notebook.ensure(f)
    reached, gate = threading.Event(), threading.Event()

    def granted(contained: list[bytes]) -> None:
        reached.set()
        assert gate.wait(30)

    library = Library(granted)
    library.install(Function(each.definition, each.version, each.blob) for each in notebook.exports)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(library.resolve, f.id)
        assert reached.wait(30)
        second = pool.submit(library.resolve, f.id)
        concurrent.futures.wait([second], 0.1)  # Time enough to find that it is not there yet.
        gate.set()
        assert first.result(30) is second.result(30)


def test_an_older_version_that_comes_later_replaces_no_newer_one(notebook: Notebook) -> None:
    """It came with a task that waited while this process asked for the definition."""
    notebook.run("x = 1\ndef f(): return x")
    f = notebook.define("f")
    notebook.ensure(f)
    notebook.run("x = 2")
    notebook.ensure(f)
    old, new = (Function(each.definition, each.version, each.blob) for each in notebook.exports)
    library = Library(lambda contained: None)
    library.install([new])
    library.install([old])
    assert library.version(f.id) == 2
    assert library.resolve(f.id)() == 2


def test_of_large_definitions_those_that_were_used_last_are_kept() -> None:
    def blob(size: int) -> bytes:
        return pickle.dumps(([], {}, pickle.dumps(bytes(size))))

    library = Library(lambda contained: None, limit=250_000)
    library.install([Function(name, 1, blob(100_000)) for name in ("one", "two")])
    library.install([Function("small", 1, blob(10))])
    assert [len(library.resolve(name)) for name in ("one", "two", "small", "one")] == [100_000, 100_000, 10, 100_000]
    library.install([Function("three", 1, blob(100_000))])
    assert [name in library for name in ("one", "two", "three", "small")] == [True, False, True, True]
    library.install([Function("two", 1, blob(100_000))])
    assert len(library.resolve("two")) == 100_000, "it comes again"
    assert "one" not in library
    library.install([Function("huge", 1, blob(400_000))])
    assert len(library.resolve("huge")) == 400_000, "what has just come is kept, however large"
    library.install([Function("huge", 2, blob(10))])
    assert len(library.resolve("huge")) == 10


def test_what_a_redefined_function_read_is_let_go_of(notebook: Notebook) -> None:
    """A notebook kept the data of each run of a cell that defines a function and calls it."""
    notebook.run("class Data: pass\ndata = Data()\ndef f(): return data")
    f = notebook.define("f")
    notebook.ensure(f)
    first = weakref.ref(vars(notebook.module)["data"])
    notebook.run("data = Data()\ndef f(): return data")
    assert first() is not None, "f still names it"
    f = notebook.define("f")
    gc.collect()
    assert first() is None
    assert notebook.ensure(f) == ["f"]


@pytest.mark.parametrize(
    "source",
    [
        "def f(frame): return frame.data",
        "class f:\n    def hold(self, data): self.data = data",
        "def f(frames): return [frame.data for frame in frames], lambda frame: frame.data",
    ],
)
def test_a_global_that_has_only_the_name_of_an_attribute_is_let_go_of(notebook: Notebook, source: str) -> None:
    notebook.run(f"class Data: pass\ndata = Data()\n{source}")
    definition = notebook.define("f")
    assert notebook.ensure(definition) == ["f"]
    gone = weakref.ref(vars(notebook.module)["data"])
    notebook.run("data = None")
    gc.collect()
    assert gone() is None
    assert notebook.ensure(definition) == []


def test_another_session_is_shipped_what_the_last_one_was(notebook: Notebook) -> None:
    notebook.run("def f(): return 1")
    f = notebook.define("f")
    assert notebook.ensure(f) == ["f"]
    notebook.exporter = Exporter(notebook.exports.append)
    assert notebook.exporter.version(f) == 0
    assert notebook.ensure(f) == ["f"]
    assert notebook.exporter.version(f) == 1


def test_what_is_forgotten_lets_go_of_what_was_granted_with_it() -> None:
    """Unpickled or not, installed or not, replaced or not."""
    granted: list[bytes] = []
    library = Library(lambda contained: granted.extend(contained))

    def function(name: str, version: int, mark: bytes) -> Function:
        return Function(name, version, pickle.dumps(([mark], {}, pickle.dumps(mark))))

    library.install([function("run", 1, b"1"), function("not run", 1, b"2"), function("replaced", 1, b"3")])
    assert library.resolve("run") == b"1"
    library.install([function("replaced", 3, b"4"), function("replaced", 2, b"5")])
    assert granted == [b"1", b"3", b"5"]
    library.forget(["run", "not run", "on its way"], lambda gone: [function(gone[2], 1, b"6")])
    assert sorted(granted) == [b"1", b"2", b"3", b"5", b"6"]
    assert "run" not in library
    assert library.version("run") == 0
    with pytest.raises(UnknownDefinitionError, match="run"):
        library.resolve("run")
    assert library.resolve("replaced") == b"4"


def test_what_a_definition_has_read_ends_where_it_disturbs_nobody() -> None:
    library = Library(lambda contained: None)
    asked: list[str] = []
    library.leaving = lambda: asked.append("leaving")
    library.install([Function("f", 1, pickle.dumps(([], {}, pickle.dumps({1}))))])
    there = weakref.ref(library.resolve("f"))
    library.forget(["f"], lambda gone: [])
    assert asked == ["leaving"]
    assert there() is not None
    library.release()
    assert there() is None
