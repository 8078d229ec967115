"""Memoryviews: ``const`` ones take the arguments of a task as they come; others want them writable."""


def total(const double[::1] values):
    """Return the sum of the values. ``const`` reads a read-only array where it lies."""
    cdef double result = 0
    cdef Py_ssize_t i
    with nogil:
        for i in range(values.shape[0]):
            result += values[i]
    return result


def address(const unsigned char[::1] values):
    """Return where the bytes lie in memory, 0 if there are none."""
    return <size_t> &values[0] if values.shape[0] else 0


def fill(double[:] values, double number):
    """Write `number` everywhere. Not ``const``: the call has to say ``writable`` or ``inout``."""
    cdef Py_ssize_t i
    for i in range(values.shape[0]):
        values[i] = number


def scale(double[:] values, double factor=2.0):
    """Multiply in place, and return the largest value."""
    cdef double largest = 0
    cdef Py_ssize_t i
    for i in range(values.shape[0]):
        values[i] *= factor
        largest = values[i] if i == 0 else max(largest, values[i])
    return largest
