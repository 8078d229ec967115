"""CUDA's driver by itself, through ctypes: what a task does to a GPU, without a library of arrays."""

from __future__ import annotations

import ctypes
from typing import Any


class CudaError(RuntimeError):
    """The driver refused."""


class Gpu:
    """The first GPU that this process sees, with a context of its own on it."""

    def __init__(self) -> None:
        self._cuda: Any = ctypes.CDLL("libcuda.so.1")
        self._call("cuInit", 0)
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        self.visible: int = count.value
        """How many there are to see."""
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        uuid = (ctypes.c_ubyte * 16)()
        self._call("cuDeviceGetUuid_v2", uuid, device)
        digits = bytes(uuid).hex()
        self.uuid = "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        """As `nvidia-smi -L` writes it."""
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorName(status, ctypes.byref(text))
            raise CudaError(f"{name}: {(text.value or b'?').decode()}")

    def memory(self) -> tuple[int, int]:
        """Return the bytes that are free, and all."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def fill(self, size: int, value: int) -> int:
        """Take `size` bytes, fill them, and return their address."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(value), ctypes.c_size_t(size))
        self._call("cuCtxSynchronize")
        return address.value

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of its memory."""
        buffer = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoH_v2", buffer, ctypes.c_uint64(address), ctypes.c_size_t(size))
        return buffer.raw
