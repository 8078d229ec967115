"""Values, arguments and errors as bytes, and what is said when they cannot be."""

from __future__ import annotations

import array
import functools
import io
import pickle
import sqlite3
import subprocess
import sys
import threading
import types
from collections import ChainMap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jupyter_ray import exceptions
from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.refs import ActorRef, ObjectRef
from jupyter_ray.engine.travel import note_definition
from jupyter_ray.local.serialization import arguments, errors, inspection, values
from jupyter_ray.local.serialization.arguments import Parcel
from jupyter_ray.local.worker import calling


def round_trip(value: Any) -> Any:
    serialized = values.dumps(value)
    return values.loads(serialized.data, [bytes(buffer) for buffer in serialized.buffers])


def ref(letter: bytes) -> ObjectRef[Any]:
    return ObjectRef(letter * 28)


class Point:
    def __init__(self, x: Any) -> None:
        self.x = x


@pytest.mark.parametrize(
    "value",
    [None, True, 1, -(10**30), 1.5, 2j, "text", b"bytes", (), (1, "a"), [1, [2]], {"a": 1}, {1, 2}, frozenset("ab")],
)
def test_plain_values(value: Any) -> None:
    result = round_trip(value)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("size", [10, 200_000])
def test_large_and_small_bytes_come_back_alike(size: int) -> None:
    serialized = values.dumps(b"x" * size)
    assert len(serialized.buffers) == (size > 100 * 1024)
    assert round_trip(b"x" * size) == b"x" * size


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(10),
        lambda: np.arange(10)[::2],
        lambda: np.arange(12).reshape(3, 4).T,
        lambda: np.zeros(0),
        lambda: np.array(5.0),
        lambda: np.ones((3, 0)),
        lambda: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    ],
)
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [a], lambda a: Point(a)], ids=["bare", "list", "object"])
def test_arrays_are_read_only_whatever_their_size(make: Callable[[], Any], wrap: Callable[[Any], Any]) -> None:
    original = make()
    result = round_trip(wrap(original))
    result = result.x if isinstance(result, Point) else result[0] if isinstance(result, list) else result
    assert np.array_equal(result, original)
    assert result.dtype == original.dtype
    if original.size:
        assert not result.flags.writeable


@pytest.mark.parametrize(
    "wrap", [lambda a: a, lambda a: [a], lambda a: {"more": [{1: a}]}], ids=["bare", "list", "deep"]
)
def test_what_matplotlib_draws_can_be_drawn_on_arrival(
    wrap: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.artist", types.SimpleNamespace(Artist=Point))
    drawn = round_trip(wrap(Point([np.arange(3), {"inner": Point(np.arange(100_000))}])))
    while not isinstance(drawn, Point):
        drawn = drawn[0] if isinstance(drawn, list) else next(iter(drawn.values()))
    drawn.x[0][0] = 7
    drawn.x[1]["inner"].x[0] = 7


def test_views_keep_format_and_shape() -> None:
    view = memoryview(bytes(range(24))).cast("f", [2, 3])
    result = round_trip({"view": view})["view"]
    assert (result.format, result.shape, result.readonly) == ("f", (2, 3), True)
    assert result.tolist() == view.tolist()
    assert round_trip(memoryview(b"abcdef")[::2]).tobytes() == b"ace"


def test_references_are_collected() -> None:
    one, two, actor = ref(b"1"), ref(b"2"), ActorRef(b"a" * 16)
    assert values.dumps([one, two, ObjectRef(b"1" * 28)]).contained == [b"1" * 28, b"2" * 28, b"1" * 28]
    assert values.dumps(Point([one, {"k": actor}])).contained == [b"1" * 28, b"a" * 16]
    assert round_trip([one])[0] == one


class Remote:
    """Like a remote function: it pickles as the id of its definition."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition

    def __reduce__(self) -> Any:
        assert note_definition(self.definition)
        return str, (self.definition.id,)


def test_definitions_are_collected() -> None:
    definition = Definition(value=print, name="print")
    assert values.dumps([Remote(definition)]).definitions == [definition]


class _Name(str):
    __slots__ = ("extra",)


@pytest.mark.parametrize("count", [values.MANY_TEXTS - 1, values.MANY_TEXTS, 5_000])
def test_long_lists_of_strings_arrive_as_they_are(count: int) -> None:
    texts = [f"é {number}" for number in range(count)]
    named: list[str] = [*texts, _Name("x")]
    for value in (texts, [*texts, "\ud800"], named, [*texts, None], tuple(texts)):
        stored = values.dumps(value)
        arrived = values.loads(stored.data, stored.buffers)
        assert arrived == value
        assert type(arrived) is type(value)
        assert [type(each) for each in arrived] == [type(each) for each in value]
    itself: list[Any] = [*texts]
    itself.append(itself)
    stored = values.dumps(itself)
    arrived = values.loads(stored.data, stored.buffers)
    assert arrived[-1] is arrived
    assert arrived[:-1] == texts


def test_a_string_that_is_in_a_list_again_and_again_is_written_once() -> None:
    words = [("a" * 500), ("b" * 500)] * 5_000
    assert values.dumps(words).size < 100_000


def test_long_lists_of_strings_are_arguments_as_they_are() -> None:
    texts = [f"text {number}" for number in range(values.MANY_TEXTS)]
    packed, _ = arguments.pack_call((texts, 1), {"again": texts}, lambda: None, "f")
    assert packed is not None
    args, kwargs = values.loads(packed.data, packed.buffers)
    assert args == (texts, 1)
    assert kwargs == {"again": texts}


class _Storage:
    """Has what a storage of PyTorch's has, as far as we ask for it; tests/tensors has the real ones."""

    def __init__(self, memory: Any, device: str = "cpu") -> None:
        self.memory = memory
        self._untyped_storage = self
        self.device = types.SimpleNamespace(type=device)
        self.dtype = "float32"

    def __reduce__(self) -> Any:
        return str, ("its own way",)


def test_the_memory_of_a_tensor_goes_beside_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(size: int, dtype: Any) -> Any:
        return types.SimpleNamespace(set_=lambda storage: types.SimpleNamespace(numpy=lambda: storage.memory))

    storage = types.SimpleNamespace(TypedStorage=_Storage)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(empty=empty, uint8=None))
    monkeypatch.setitem(sys.modules, "torch.storage", storage)
    monkeypatch.setattr(values.Pickler, "dispatch_table", ChainMap({}, values.Pickler.dispatch_table))
    memory = np.arange(5, dtype=np.uint8)
    there, far = values.dumps(_Storage(memory)), values.dumps(_Storage(memory, "cuda"))
    assert [bytes(buffer) for buffer in there.buffers] == [memory.tobytes()]
    assert not far.buffers
    assert values.loads(far.data) == "its own way", "of a GPU's memory we know nothing"


# --- arguments ---


def pack(*args: Any, **kwargs: Any) -> tuple[tuple[list[Any], dict[str, Any]], list[bytes]]:
    serialized, dependencies = arguments.pack_call(args, kwargs, lambda: None, "f")
    assert serialized is not None
    laid_out = values.loads(serialized.data, [bytes(buffer) for buffer in serialized.buffers])
    return arguments.fill(laid_out, [f"value {i}" for i in range(len(dependencies))]), dependencies


def test_top_level_references_become_places() -> None:
    one, two = ref(b"1"), ref(b"2")
    (args, kwargs), dependencies = pack(1, one, "x", two, again=one, nested=[two])
    assert dependencies == [b"1" * 28, b"2" * 28, b"1" * 28]
    assert args == [1, "value 0", "x", "value 1"]
    assert kwargs == {"again": "value 2", "nested": [two]}


def test_no_arguments_are_no_bytes() -> None:
    assert arguments.pack_call((), {}, lambda: None, "f") == (None, [])


def test_mutable_buffers_arrive_in_parcels() -> None:
    characters = array.array("w" if sys.version_info >= (3, 13) else "u", "hi")  # 3.16 will not have "u".
    (args, kwargs), _ = pack(bytearray(b"abc"), array.array("d", [1, 2]), a=characters)
    assert isinstance(args[0], Parcel)
    assert args[0].read_only() == b"abc"
    writable = args[0].writable()
    assert isinstance(writable, bytearray)
    view = args[1].read_only()
    assert (view.readonly, view.format, view.tolist()) == (True, "d", [1.0, 2.0])
    assert args[1].writable() == array.array("d", [1, 2])
    assert kwargs["a"] == characters


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((1, {"a": [0, threading.Lock()]}), {}, ["argument 'y' of f", "y['a'][1]", "lock"]),
        ((), {"z": Point(threading.Lock())}, ["argument 'z' of f", "z.x", "lock"]),
        ((1, 2, threading.Lock()), {}, ["argument number 3 of f", "lock"]),
    ],
)
def test_an_unpicklable_argument_is_named(args: tuple[Any, ...], kwargs: dict[str, Any], words: list[str]) -> None:
    def f(x: Any, y: Any) -> None: ...

    with pytest.raises(TypeError) as caught:
        arguments.pack_call(args, kwargs, lambda: f, "f")
    for word in words:
        assert word in str(caught.value)


def test_an_unpicklable_closure_variable_is_named() -> None:
    lock = threading.Lock()

    def uses() -> Any:
        return lock

    with pytest.raises(TypeError, match=r"the variable of its closure 'lock' is of type _thread.lock"):
        arguments.pack_call((uses,), {}, lambda: None, "f")


class _Bar(Point):
    """What looks like a progress bar of tqdm's."""


_Bar.__module__ = "tqdm.std"


class _Stream:
    """What a progress bar of tqdm's writes to: it is pickled, and asks itself for its stream when it is made again."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


def of(module: str) -> Any:
    """Return what looks like a library's object that cannot be pickled."""
    return type("Thing", (Point,), {"__module__": module})(threading.Lock())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((each for each in "ab"), r"of type generator \(.*\)\. Pass list\(\.\.\.\) of it\.$"),
        (sys.__stderr__, r"Pass the path, and open the file inside the task\.$"),
        ({"db": sqlite3.connect(":memory:")}, r"x\['db'\] is of type sqlite3.* Open the connection inside the task\.$"),
        (
            [_Bar(threading.Lock())],
            r": x\[0\] is of type tqdm\.std\._Bar .* Move the bar in the notebook, as results come",
        ),
        (
            of("httpx._client"),
            r"of type httpx._client.Thing .* Make the client inside the task, or keep it in an actor",
        ),
        (of("torch.jit._script"), r"of type torch.jit.* Save it with torch\.jit\.save to a file"),
        (of("torch.utils"), r"x\.x is of type _thread.lock"),
        (of("_asyncio"), r"of type _asyncio.Thing .* Await it, and pass what it returns\.$"),
        (of("sqlalchemy.orm.decl_api"), r"Write it into a module \(a \.py file\) of your own, and import that\.$"),
        (of("sqlalchemy.engine.base"), r"Open the connection inside the task\.$"),
        (Point(threading.Lock()), r": x\.x is of type _thread.lock .* Leave it out, create it inside the task, or"),
    ],
)
def test_the_remedy_is_that_of_what_cannot_be_pickled(value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        arguments.pack_call((value,), {}, lambda: lambda x: x, "f")


def test_a_coroutine_is_to_be_awaited() -> None:
    async def ask() -> None: ...

    coroutine = ask()
    with pytest.raises(TypeError, match=r"of type coroutine \(.*\)\. Await it, and pass what it returns\.$"):
        arguments.pack_call((coroutine,), {}, lambda: None, "f")
    coroutine.close()


def test_a_progress_bar_is_refused_where_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error came from the worker, and told of a recursion in tqdm."""
    monkeypatch.setitem(sys.modules, "tqdm.utils", types.SimpleNamespace(DisableOnWriteError=_Stream))
    bar = _Bar(_Stream())
    with pytest.raises(TypeError, match=r"of type tqdm\.std\._Bar .* Move the bar in the notebook, as results come"):
        arguments.pack_call((bar,), {}, lambda: None, "f")


def test_the_path_to_what_a_function_uses_is_in_the_words_of_the_program() -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "bar": Point([threading.Lock()])}
    exec("def f(): return bar", scope)
    error = raised(lambda: values.dumps(scope["f"]))
    told = inspection.unpicklable(scope["f"], error, "the function f", "f")
    assert str(told).startswith(
        "Could not serialize the function f: the global variable 'bar.x[0]' is of type _thread.lock"
    )


# --- errors ---


def raised(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def sent(function: Callable[[], Any]) -> BaseException:
    return errors.load_error(errors.dump_error(raised(function), "f").data)


def fail() -> None:
    empty: dict[str, int] = {}
    empty["missing"]


def test_an_error_is_of_its_own_class_too() -> None:
    error = sent(fail)
    assert isinstance(error, exceptions.RayTaskError)
    assert isinstance(error, KeyError)
    assert error.args == (error.cause,)
    assert isinstance(error.cause, KeyError)
    assert error.cause.args == ("missing",)
    assert "in fail" in str(error)


def test_the_chain_of_causes_arrives() -> None:
    def chained() -> None:
        try:
            fail()
        except KeyError as error:
            raise ValueError("outer") from error

    error = sent(chained)
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, KeyError)


def test_frames_of_the_runtime_are_left_out() -> None:
    text = errors.format_remote(raised(lambda: arguments.fill(None, [])))  # type: ignore[arg-type]
    assert "test_serialization" in text
    assert "arguments.py" not in text


def returned(value: Any) -> None:
    """What a worker does with what a function returns."""
    calling.payload_of(value, "the return value of f", lambda serialized: pytest.fail("it was pickled"))


def test_of_what_does_not_pickle_the_pickler_s_words_are_told_once() -> None:
    text = errors.format_remote(raised(lambda: returned([threading.Lock()])))
    assert text.count("cannot pickle") == 1
    assert "direct cause" not in text


class Refusing:
    def __reduce__(self) -> Any:
        raise TypeError("no copies")


def test_what_a_user_s_own_reduce_raised_is_told_with_its_frames() -> None:
    text = errors.format_remote(raised(lambda: returned(Refusing())))
    assert 'raise TypeError("no copies")' in text
    assert "cloudpickle.py" not in text


class TwoArguments(Exception):
    def __init__(self, one: Any, two: Any) -> None:
        super().__init__(one)
        self.two = two


class MadeByName(Exception):
    def __new__(cls, *, code: int) -> MadeByName:
        return super().__new__(cls)

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("it is", threading.Lock())


def test_an_error_whose_init_takes_more_than_it_passes_on_comes_back_also_as_a_cause() -> None:
    def fails() -> None:
        raise ValueError("outer") from TwoArguments(1, 2)

    error = sent(fails)
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, TwoArguments)
    assert (error.__cause__.args, error.__cause__.two) == ((1,), 2)
    again: Any = pickle.loads(pickle.dumps(sent(lambda: raise_(TwoArguments(3, 4)))))
    assert isinstance(again, TwoArguments)
    assert isinstance(again, exceptions.RayTaskError)
    assert again.cause is not None
    assert (again.cause.args, again.two) == ((3,), 4)


def raise_(error: BaseException) -> None:
    raise error


def test_an_error_that_cannot_be_rebuilt() -> None:
    def fails() -> None:
        raise MadeByName(code=1)

    error = sent(fails)
    assert isinstance(error, exceptions.UnserializableException)
    assert "MadeByName: code 1" in str(error)


def test_modules_that_only_inner_code_names_are_imported() -> None:
    scope = {"__name__": "__main__"}
    exec(
        "import xml.etree.ElementTree\ndef read(): return [xml.etree.ElementTree.XML(t).tag for t in ('<a/>', '<b/>')]",
        scope,
    )
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)())"
    done = subprocess.run(
        [sys.executable, "-c", code], input=values.code_dumps(scope["read"]).data, capture_output=True, check=True
    )
    assert done.stdout == b"['a', 'b']\n"


def test_an_error_that_cannot_be_pickled() -> None:
    def fails() -> None:
        raise Unpicklable

    error = sent(fails)
    assert isinstance(error, exceptions.RayTaskError)
    assert isinstance(error, Unpicklable)
    assert repr(error.args[0].args) == "('it is', <not sent: _thread.lock (cannot pickle '_thread.lock' object)>)"

    class Refuses(Unpicklable):
        def __reduce__(self) -> Any:
            raise TypeError("not at all")

    def fails_more() -> None:
        raise Refuses

    assert type(sent(fails_more)) is exceptions.RayTaskError
    assert "Refuses" in str(sent(fails_more))


def test_an_error_that_passes_through_keeps_its_class() -> None:
    inner = sent(fail)

    def again() -> None:
        raise inner

    error = sent(again)
    assert isinstance(error, KeyError)
    assert isinstance(error, exceptions.RayTaskError)
    assert isinstance(error.cause, KeyError)
    assert not isinstance(error.cause, exceptions.RayTaskError)


def test_errors_of_the_runtime_itself() -> None:
    error = exceptions.ActorDiedError("it died", "ab", True)
    loaded = errors.load_error(pickle.dumps(error))
    assert isinstance(loaded, exceptions.ActorDiedError)
    assert loaded.actor_init_failed
    assert isinstance(errors.load_error(b"no pickle"), exceptions.UnserializableException)


def test_a_class_with_a_cached_property() -> None:
    class Squares:
        def __init__(self) -> None:
            self.calls = 0

        @functools.cached_property
        def all(self) -> list[int]:
            self.calls += 1
            return [number**2 for number in range(3)]

    Squares.__module__ = "__main__"  # So that it goes by value.
    loaded: Any = values.loads(values.code_dumps(Squares).data)()
    assert loaded.all == [0, 1, 4] == loaded.all
    assert loaded.calls == 1


def test_a_cached_function_goes_by_value_with_an_empty_cache_or_by_name() -> None:
    @functools.lru_cache(maxsize=7, typed=True)
    def fibonacci(number: int) -> int:
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    fibonacci(10)
    loaded: Any = values.loads(values.code_dumps(fibonacci).data)
    assert loaded.cache_info().currsize == 0
    assert loaded(30) == 832040
    assert loaded.cache_parameters() == {"maxsize": 7, "typed": True}
    assert values.loads(values.code_dumps(cached_in_a_module).data) is cached_in_a_module


@functools.cache
def cached_in_a_module() -> int:
    return 1


class State:
    """As Starlette's: what keeps the attributes is one itself, which is not there yet when it is unpickled."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__setattr__("_state", state)

    def __setattr__(self, name: str, value: Any) -> None:
        self._state[name] = value

    def __getattr__(self, name: str) -> Any:
        return self._state[name]


def test_what_a_web_application_keeps_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("starlette.datastructures")
    monkeypatch.setattr(module, "State", State, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert round_trip([State({"user": "me"})])[0].user == "me"


def test_arrays_of_strings_are_written_as_lists_of_them_are() -> None:
    texts = np.array([[f"a {i}", f"b {i}"] for i in range(values.MANY_TEXTS)], object)
    for each in (texts, texts.T, texts[::2], np.array([*texts[:, 0], None], object), texts[:0]):
        back = round_trip(each)
        assert back.dtype == object
        assert np.array_equal(back, each)
        back[:1] = None  # As in Ray: only what is in shared memory is read-only.
    assert len(values.dumps(texts).data) < 1_000


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_file_that_is_only_read_is_shared(mode: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.arange(100_000.0))
    mapped = np.load(path, mmap_mode=mode)
    for part in (mapped, mapped[10:20], mapped[::2]):
        serialized = values.dumps([part])
        back = values.loads(serialized.data, [bytes(buffer) for buffer in serialized.buffers])[0]
        assert type(back) is np.memmap
        assert np.array_equal(back, part)
        assert back.flags.writeable == (mode != "r")  # As in Ray; there the former is a copy, too.
        assert len(serialized.buffers) == (mode == "r")


class Stream(io.StringIO):
    """As ipykernel's, which cannot be pickled."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._lock = threading.Lock()


def test_the_streams_of_a_notebook_are_those_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("ipykernel.iostream")
    monkeypatch.setattr(module, "OutStream", Stream, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    logger = Point([Stream("stdout"), Stream("stderr"), Stream("other")])
    assert round_trip(logger).x == [sys.stdout, sys.stderr, sys.stdout]


class Console:
    """As rich's."""

    def __init__(self) -> None:
        self.width = 80
        self._lock = threading.RLock()
        self._here = threading.local()


def test_what_rich_prints_with_travels_without_its_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("rich.console")
    monkeypatch.setattr(module, "Console", Console, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    console = Console()
    console.width = 100
    back = round_trip([console])[0]
    assert back.width == 100
    with back._lock:
        back._here.value = 1


class Endless:
    def __reduce__(self) -> Any:
        return Endless, (Endless(),)


def chain(length: int) -> Any:
    value: Any = None
    for _ in range(length):
        value = Point(value)
    return value


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x, 1), lambda x: {"a": [x, 2]}], ids=["[]", "()", "{}"])
def test_containers_are_nested_as_deeply_as_one_likes(wrap: Callable[[Any], Any]) -> None:
    def inside(value: Any) -> Any:
        while isinstance(value, list | tuple | dict) and value:
            value = value["a"] if isinstance(value, dict) else value[0]
        return value

    reference = ref(b"a")
    value: Any = reference
    for _ in range(20_000):
        value = wrap(value)
    serialized = values.dumps(value)
    assert serialized.contained == [reference.binary()], "once, however often it was tried"
    assert inside(values.loads(serialized.data)) == reference
    for args in ([value], [value, {"other": 1}, value]):
        packed, _ = arguments.pack_call(args, {}, lambda: None, "f")
        assert packed is not None
        found, _ = values.loads(packed.data, [bytes(buffer) for buffer in packed.buffers])
        assert [inside(each) for each in found[::2]] == [reference] * len(args[::2])


def test_deep_containers_keep_what_is_alike_and_what_is_in_them() -> None:
    shared: Any = [np.arange(3), bytearray(b"x"), Point(1), []]
    value: Any = [shared, shared, {"k": shared}, (), {}, set(), (shared[3],)]
    for _ in range(1_000):
        value = [value]
    value = round_trip(value)
    for _ in range(1_000):
        (value,) = value
    first, second, named, *empty, last = value
    assert first is second is named["k"]
    assert (first[0].tolist(), first[1], first[2].x) == ([0, 1, 2], b"x", 1)
    assert last[0] is first[3]
    assert empty == [(), {}, set()]


@pytest.mark.parametrize("kind", ["deep", "endless", "circle"])
def test_what_is_nested_too_deeply_is_called_that(kind: str) -> None:
    circle: list[Any] = [chain(100_000)]
    circle.append(circle)
    value = {"deep": chain(100_000), "endless": Endless(), "circle": circle}[kind]
    with pytest.raises(TypeError, match=r"argument number 1 of f, of type .*nested too deeply for pickle"):
        arguments.pack_call([value], {}, lambda: None, "f")
