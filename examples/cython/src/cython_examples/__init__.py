"""Cython functions and classes, to be run as tasks and actors."""

from cython_examples.buffers import address, fill, scale, total
from cython_examples.cython_blas import compute_kernel_matrix
from cython_examples.cython_simple import (
    Account,
    countdown,
    fib,
    fib_cdef,
    fib_cpdef,
    fib_int,
    greeting,
    simple_class,
    simple_func,
)
from cython_examples.masked_log import masked_log

__all__ = [
    "Account",
    "address",
    "compute_kernel_matrix",
    "countdown",
    "fib",
    "fib_cdef",
    "fib_cpdef",
    "fib_int",
    "fill",
    "greeting",
    "masked_log",
    "scale",
    "simple_class",
    "simple_func",
    "total",
]
