"""What bounds the rows that fall short: one sentence each, quoted in RESULTS.md while it is so.

Most rest on samples or on the CPU time of each process. What begins with "inferred" was not profiled.
"""

BOUNDED_BY: dict[str, str] = {
    "first": (
        "inferred: the time is that of four processes that start one after the other: the driver's "
        "Python, the runtime's, the "
        "template's, and the fork of a worker; a `ProcessPoolExecutor` forks the driver"
    ),
    "tasks_sync": (
        "two hops and what both ends do for a call: 60 µs of CPU in the driver and 50 µs in the worker "
        "(the kernel's clock of each process, 2026-11-25)"
    ),
    "tasks_async": "the runtime's bookkeeping, about 35 µs of Python a task, spread flat over some sixty functions",
    "tasks_batch": "the runtime's bookkeeping, about 35 µs of Python a task",
    "tasks_wait": (
        "each `wait` visits all references that are left, at the speed of C: 80 ms of the driver's CPU for 1,000 calls"
    ),
    "actor_sync": "two hops and what both ends do for a call: 60 µs of CPU in the driver and 45 µs in the worker",
    "actor_async": "the runtime's bookkeeping, about 38 µs of Python a call",
    "actor_concurrent": (
        "inferred: 16 threads take turns for the interpreter lock of the driver; their calls go through "
        "the runtime one by one"
    ),
    "actor_1n": "the runtime's bookkeeping, about 38 µs of Python a call",
    "actor_nn": "the runtime's bookkeeping, about 38 µs of Python a call",
    "async_actor_sync": "inferred: two hops, and a turn of the actor's event loop on the way",
    "async_actor_async": "the runtime's bookkeeping, about 45 µs of Python a call",
    "placement_group": (
        "inferred: each group runs a task in it, in a round trip of four hops, and is made and removed "
        "by one message each"
    ),
    "observed": (
        "the panel's process decodes and folds what happens beside the program: 5 µs to decode and 15 µs to fold a "
        "task's events where each is told; of bursts that begin and end within 0.2 s the notebook is told the number"
    ),
}
