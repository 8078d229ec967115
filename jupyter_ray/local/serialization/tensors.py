"""PyTorch's tensors: what they have in the machine's memory travels beside the stream, as that of arrays does.

Their own reducer writes a whole archive into the stream. On arrival a tensor is private and writable, since PyTorch
knows no read-only ones; with ``RAY_ENABLE_ZERO_COPY_TORCH_TENSORS=1`` in the environment it is a view of the shared
memory, which nobody may write to. Source: Ray, for both.
"""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from typing import Any

_SPARED = 1 << 16
"""Bytes that have to be saved before a tensor is copied."""


def reduce_storage(storage: Any) -> Any:
    """Return how the memory of a tensor is pickled: of one on a GPU in its own way."""
    numpy = sys.modules.get("numpy")
    untyped = storage._untyped_storage  # `untyped()` warns that this class is deprecated.
    if numpy is None or untyped.device.type != "cpu":
        return storage.__reduce__()
    return _make_storage, (pickle.PickleBuffer(_bytes(untyped)), storage.dtype)


def _bytes(untyped: Any) -> Any:
    """Return an array of the bytes of an untyped storage, which shares its memory."""
    torch = sys.modules["torch"]
    return torch.empty(0, dtype=torch.uint8).set_(untyped).numpy()


def _make_storage(buffer: Any, dtype: Any) -> Any:
    import numpy
    import torch

    source = numpy.frombuffer(buffer, numpy.uint8)
    if source.nbytes and _shares():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That it is not writable.
            untyped = torch.from_numpy(source).untyped_storage()
    else:
        untyped = torch.UntypedStorage(source.nbytes)
        _bytes(untyped)[:] = source
    return torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)


def _shares() -> bool:
    return os.environ.get("RAY_ENABLE_ZERO_COPY_TORCH_TENSORS", "0").lower() in ("1", "true")


def reduce_tensor(tensor: Any) -> Any:
    """Return how a tensor is pickled; one that shows only part of its memory, such as some rows, without the rest.

    A loop over parts would send the whole again and again. (Pickling makes copies of what tensors share anyway.)
    """
    torch = sys.modules["torch"]
    if tensor.device.type == "cpu" and tensor.layout is torch.strided and not tensor.is_quantized:
        shown = tensor.numel() * tensor.element_size()
        if tensor.untyped_storage().nbytes() > shown + shown // 4 + _SPARED and not tensor._backward_hooks:
            tensor = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    rebuild, arguments, *state = tensor.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    if rebuild.__name__ == "_rebuild_tensor_v3":  # Of eight-bit floats, say: PyTorch passes what it cannot take itself.
        untyped, *others = arguments
        arguments = (torch.storage.TypedStorage(wrap_storage=untyped, dtype=torch.uint8, _internal=True), *others)
    return rebuild, arguments, *state


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a tensor of PyTorch's, without importing that."""
    torch = sys.modules.get("torch")
    kind = getattr(torch, "Tensor", None)
    return kind is not None and isinstance(value, kind)


def writable(tensor: Any) -> Any:
    """Return a private copy of a tensor that arrived; most are one already."""
    return tensor.detach().clone().requires_grad_(tensor.requires_grad) if _shares() else tensor
