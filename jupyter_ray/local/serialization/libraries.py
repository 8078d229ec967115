"""Classes of libraries that are pickled in another way than their own, if a program has imported them."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any, NoReturn

from jupyter_ray.local.serialization import frames, kernels, tensors
from jupyter_ray.local.serialization.texts import MANY_TEXTS, PROTOCOL, Texts, are_texts


def reduce_array(value: Any) -> Any:
    """An array's own reducer, after a copy where its memory has gaps: those would travel in the stream, writable."""
    if not value.dtype.hasobject and not value.flags.forc:
        value = value.copy(order="C")
    elif value.dtype.char == "O" and value.size >= MANY_TEXTS:
        items = value.ravel().tolist()
        if are_texts(items):
            return _make_texts, (Texts(items), value.shape)
    return value.__reduce_ex__(PROTOCOL)


def _make_texts(items: list[str], shape: tuple[int, ...]) -> Any:
    numpy = importlib.import_module("numpy")
    made = numpy.empty(len(items), object)
    made[:] = items
    return made.reshape(shape)


def _reduce_memmap(value: Any) -> Any:
    """A mapped file that may only be read is read from shared memory; another one arrives as a copy of one's own."""
    if value.flags.writeable or value.dtype.hasobject:
        return value.__reduce_ex__(PROTOCOL)
    return _as_memmap, (value.view(sys.modules["numpy"].ndarray),)


def _as_memmap(value: Any) -> Any:
    return value.view(sys.modules["numpy"].memmap)


def _reduce_state(state: Any) -> Any:
    """What a web application (FastAPI, Starlette) keeps; it asks itself for its attributes before it has any."""
    return type(state), (dict(state._state),)


def _reduce_shell(shell: Any) -> Any:
    """A notebook's function knows its shell where it runs commands (``!ls``): a task has one of its own."""
    return _shell_here, ()


def _shell_here() -> Any:
    importlib.import_module("IPython")  # First, because that imports the next one when it has got so far.
    return importlib.import_module("jupyter_ray.engine.task_shell").here()


def reduce_stream(stream: Any) -> Any:
    """A notebook's `sys.stdout` and `sys.stderr`, which loggers hold (loguru's, rich's): a task has its own ones."""
    return getattr, (sys, stream.name if stream.name in ("stdout", "stderr") else "stdout")


_OF_ONE_PROCESS = (type(threading.Lock()), type(threading.RLock()), threading.local)


def _refuse_bar(_: Any) -> NoReturn:
    """The stream of a progress bar of tqdm's, which can be pickled and not be made again."""
    raise TypeError("a progress bar belongs to the process that shows it")


def _reduce_console(console: Any) -> Any:
    """What rich prints with, without its locks."""
    return _make_console, (
        {name: value for name, value in vars(console).items() if not isinstance(value, _OF_ONE_PROCESS)},
    )


def _make_console(state: dict[str, Any]) -> Any:
    made = importlib.import_module("rich.console").Console()
    vars(made).update(state)
    return made


REDUCERS = (
    ("ipykernel.iostream", "OutStream", reduce_stream),
    ("ipykernel.zmqshell", "ZMQInteractiveShell", _reduce_shell),
    ("IPython.terminal.interactiveshell", "TerminalInteractiveShell", _reduce_shell),
    ("jupyter_ray.engine.task_shell", "TaskShell", _reduce_shell),
    ("numpy", "ndarray", reduce_array),
    ("numpy", "memmap", _reduce_memmap),
    ("polars.dataframe.frame", "DataFrame", frames.reduce_frame),
    ("polars.series.series", "Series", frames.reduce_series),
    ("rich.console", "Console", _reduce_console),
    ("starlette.datastructures", "State", _reduce_state),
    ("torch", "Tensor", tensors.reduce_tensor),
    ("torch.storage", "TypedStorage", tensors.reduce_storage),
    ("tqdm.utils", "DisableOnWriteError", _refuse_bar),
    ("triton.runtime.jit", "JITFunction", kernels.reduce_kernel),
)
"""Module, name, and the function that says how an instance is pickled."""
