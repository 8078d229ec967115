"""A function on NumPy arrays. It needs no header of NumPy: memoryviews are enough."""

from libc.math cimport log

import numpy as np


def masked_log(const double[:] x, double fill=0.0):
    """Return the logarithm where it exists, and `fill` elsewhere.

    Parameters
    ----------
    x
        float64, 1-d, of any stride. ``const``, since an argument of a task is read-only.
    fill
        What stands for the logarithm of what is not positive.

    Returns
    -------
    numpy.ndarray
        float64, of the length of `x`.
    """
    cdef Py_ssize_t i, n = x.shape[0]
    result = np.empty(n)
    cdef double[::1] out = result
    with nogil:
        for i in range(n):
            out[i] = log(x[i]) if x[i] > 0 else fill
    return result
