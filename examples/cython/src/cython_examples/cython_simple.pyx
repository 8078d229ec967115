"""Functions of each of Cython's kinds, and two classes."""


def simple_func(x, y, z):
    """Return the sum: a plain function, compiled."""
    return x + y + z


def fib(n):
    """Return the n-th Fibonacci number, recursively, with Python's numbers."""
    return n if n < 2 else fib(n - 2) + fib(n - 1)


def fib_int(int n):
    """Return the n-th Fibonacci number. The argument becomes a C int: 10.0 and "10" are type errors."""
    return n if n < 2 else fib_int(n - 2) + fib_int(n - 1)


cpdef long long fib_cpdef(int n):
    """Return the n-th Fibonacci number: a function for C and for Python, which calls itself as C does."""
    return n if n < 2 else fib_cpdef(n - 2) + fib_cpdef(n - 1)


cdef long long _fib(int n) noexcept nogil:
    return n if n < 2 else _fib(n - 2) + _fib(n - 1)


def fib_cdef(int n):
    """Return the n-th Fibonacci number. Python does not see a ``cdef`` function; this one wraps it."""
    with nogil:
        value = _fib(n)
    return value


def greeting(name, *, word="hello", int times=1):
    """Return a greeting: default values, and arguments that only keywords give."""
    return " ".join([word] * times + [name])


def countdown(int start, int step=1):
    """Count down to zero: a generator."""
    while start >= 0:
        yield start
        start -= step


class simple_class:
    """Counts. A plain class, compiled."""

    def __init__(self):
        self.value = 0

    def increment(self):
        """Add one and return the new value."""
        self.value += 1
        return self.value


cdef class Account:
    """Some money: an extension type, whose constructor takes arguments and whose attributes are C values."""

    cdef str _owner
    cdef double _balance

    def __init__(self, str owner, double balance=0.0):
        self._owner = owner
        self._balance = balance

    cpdef double deposit(self, double amount):
        """Add `amount` and return the balance."""
        self._balance += amount
        return self._balance

    def withdraw(self, double amount, *, double fee=0.0):
        """Take `amount` and a fee, and return the balance; ValueError if there is not enough."""
        if amount + fee > self._balance:
            raise ValueError(f"{self._owner} has only {self._balance}")
        self._balance -= amount + fee
        return self._balance

    def history(self, int days):
        """Yield the balance of the coming days, at one percent a day."""
        cdef int day
        for day in range(days):
            yield self._balance * 1.01 ** day

    def owner(self):
        """Return the owner's name."""
        return self._owner
