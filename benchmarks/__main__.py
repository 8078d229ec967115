"""``python -m benchmarks``. The functions are elsewhere: other processes must be able to import them."""

from benchmarks.suite import main

main()
