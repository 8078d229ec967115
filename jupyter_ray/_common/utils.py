"""Ray's ``ray._common.utils``: of it, the small things that programs and their tests use."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import os
import random
import string
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

from jupyter_ray.not_offered import unusable

RANDOM_STRING_ALPHABET = string.ascii_lowercase + string.digits
RESOURCE_CONSTRAINT_PREFIX = "accelerator_type:"
PLACEMENT_GROUP_BUNDLE_RESOURCE_NAME = "bundle"

_background: set[asyncio.Task[Any]] = set()


class TimerBase(ABC):
    """What tells the time."""

    @abstractmethod
    def time(self) -> float:
        """Return Unix seconds."""


class Timer(TimerBase):
    """A clock; tests give their own instead."""

    def time(self) -> float:
        """Return Unix seconds."""
        return time.time()


def binary_to_hex(identifier: bytes) -> str:
    """Return an identifier's hex digits."""
    return identifier.hex()


def hex_to_binary(hex_identifier: str) -> bytes:
    """Return the identifier that has these hex digits."""
    return bytes.fromhex(hex_identifier)


def decode(byte_str: bytes | None, allow_none: bool = False, encode_type: str = "utf-8") -> str:
    """Return the text of bytes; with `allow_none`, "" for None."""
    if byte_str is None and allow_none:
        return ""
    if not isinstance(byte_str, bytes):
        raise ValueError(f"The argument {byte_str!r} must be a bytes object.")
    return byte_str.decode(encode_type)


def env_integer(key: str, default: int) -> int:
    """Return the whole number that an environment variable holds, or the default."""
    value = os.environ.get(key, "")
    return int(value) if value.strip().lstrip("+-").isdigit() else default


def env_float(key: str, default: float) -> float:
    """Return the number that an environment variable holds, or the default."""
    try:
        return float(os.environ[key])
    except (KeyError, ValueError):
        return default


def env_bool(key: str, default: bool) -> bool:
    """Return whether an environment variable is ``1`` or ``true``, or the default."""
    value = os.environ.get(key)
    return default if value is None else value.lower() in ("1", "true")


def get_call_location(back: int = 1) -> str:
    """Return ``file:line`` of the caller, so many frames up."""
    frame = sys._getframe(1)
    for _ in range(back):
        if frame.f_back is None:
            return "UNKNOWN"
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def get_random_alphanumeric_string(length: int) -> str:
    """Return random small letters and digits."""
    return "".join(random.choices(RANDOM_STRING_ALPHABET, k=length))


def get_or_create_event_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs, or this thread's; make one where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    try:
        return asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop


def run_background_task(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a coroutine that nobody waits for; the event loop alone would forget it."""
    task = get_or_create_event_loop().create_task(coroutine)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return task


def import_module_and_attr(full_path: str, *, reload_module: bool = False) -> tuple[Any, Any]:
    """Return a module and what is in it, by ``package.module:name`` or ``package.module.name``."""
    module_name, colon, name = full_path.partition(":")
    if not colon:
        module_name, _, name = full_path.rpartition(".")
    elif ":" in name:
        raise ValueError(f'Got invalid import path "{full_path}". An import path may have at most one colon.')
    module = importlib.import_module(module_name)
    if reload_module:
        importlib.reload(module)
    return module, getattr(module, name)


def import_attr(full_path: str, *, reload_module: bool = False) -> Any:
    """Return what is in a module, by ``package.module:name`` or ``package.module.name``."""
    return import_module_and_attr(full_path, reload_module=reload_module)[1]


def load_class(path: str) -> Any:
    """Return a class by ``package.module.name``."""
    if "." not in path:
        raise ValueError(f"Class path {path!r} should be of the form mypackage.mymodule.myclass")
    return import_attr(path)


def get_function_args(callable: Callable[..., Any]) -> list[str]:
    """Return the names of a function's positional parameters."""
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [each.name for each in inspect.signature(callable).parameters.values() if each.kind in positional]


def resources_from_ray_options(options_dict: dict[str, Any]) -> dict[str, Any]:
    """Return the resources that options of a task or an actor name, in one dict.

    Raises
    ------
    ValueError
        ``resources`` has one that has an option of its own.
    """
    named = ("num_cpus", "CPU"), ("num_gpus", "GPU"), ("memory", "memory"), ("object_store_memory",) * 2
    found = dict(options_dict.get("resources") or {})
    taken = {resource for _, resource in named} & set(found)
    if taken:
        raise ValueError(f"Use the options for these, and not resources: {', '.join(sorted(taken))}.")
    for option, resource in named:
        if options_dict.get(option) is not None:
            found[resource] = options_dict[option]
    if options_dict.get("accelerator_type") is not None:
        found[f"{RESOURCE_CONSTRAINT_PREFIX}{options_dict['accelerator_type']}"] = 0.001
    return found


def get_default_system_temp_dir() -> str:
    """Return the folder in which sessions make theirs, if nobody says otherwise."""
    return os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()


def try_to_create_directory(directory_path: str) -> None:
    """Make a folder, with those above it, unless it is there."""
    os.makedirs(os.path.expanduser(directory_path), exist_ok=True)


def get_system_memory(
    memory_limit_filename: str = "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    memory_limit_filename_v2: str = "/sys/fs/cgroup/memory.max",
) -> int:
    """Return how many bytes of memory there are: the machine's, or the limit in one of these files if that is less."""
    import psutil

    found = [psutil.virtual_memory().total]
    for name in (memory_limit_filename, memory_limit_filename_v2):
        with contextlib.suppress(OSError, ValueError), open(name) as file:
            found.append(int(file.read()))
    return min(found)


_OF_SERVERS = (
    "get_cgroup_aware_swap_memory", "get_default_ray_temp_dir", "get_ray_address_file", "reset_ray_address",
    "resolve_user_ray_temp_dir", "try_make_directory_shared",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_SERVERS)
