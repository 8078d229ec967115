"""Functions and a class that are remote from the start: decorated here, in Cython."""

import jupyter_ray as ray


@ray.remote
def square(double x):
    """Return the square."""
    return x * x


@ray.remote
def sum_of_squares(int n):
    """Return the sum of the squares up to n - 1; each is a task."""
    return sum(ray.get([square.remote(i) for i in range(n)]))


@ray.remote(inout=["values"])
def double_all(double[:] values):
    """Double every value: options work as usual."""
    cdef Py_ssize_t i
    for i in range(values.shape[0]):
        values[i] *= 2


@ray.remote(num_returns="streaming")
def letters(str text):
    """Yield the letters."""
    for letter in text:
        yield letter


@ray.remote
class Tally:
    """Counts by name."""

    def __init__(self, first=()):
        self.counts = {}
        for name in first:
            self.add(name)

    def add(self, str name, int times=1):
        """Count a name and return how often it has come."""
        self.counts[name] = self.counts.get(name, 0) + times
        return self.counts[name]


increment = lambda x: x + 1


def make_local():
    """Return a remote function that is defined inside another: it cannot be sent, and says so."""

    @ray.remote
    def inner(x):
        return x

    return inner
