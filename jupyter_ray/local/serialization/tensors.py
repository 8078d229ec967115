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


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a tensor of PyTorch's, without importing that."""
    torch = sys.modules.get("torch")
    kind = getattr(torch, "Tensor", None)
    return kind is not None and isinstance(value, kind)


def writable(tensor: Any) -> Any:
    """Return a private copy of a tensor that arrived; most are one already."""
    return tensor.detach().clone().requires_grad_(tensor.requires_grad) if _shares() else tensor
