"""What bounds the rows that fall short: one sentence each, quoted in RESULTS.md while it is so.

Most rest on samples or on the CPU time of each process. What begins with "inferred" was not profiled.
"""

BOUNDED_BY: dict[str, str] = {
    "first": (
        "two interpreters start one after the other, the driver's and the runtime's, which imports for 0.1 s "
        "(`-X importtime`); a `ProcessPoolExecutor` forks the driver and imports nothing"
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
        "the runtime's bookkeeping, about 44 µs of CPU a call, beside 25 µs in the actor's process and 15 µs "
        "in the driver (the kernel's clock of each process)"
    ),
    "actor_1n": "the runtime's bookkeeping, about 38 µs of Python a call",
    "actor_nn": "the runtime's bookkeeping, about 38 µs of Python a call",
    "async_actor_sync": (
        "two hops and what both ends do for a call: 80 µs of CPU in the driver, 73 µs in the actor's process,"
        " 15 µs in the runtime (the kernel's clock of each process)"
    ),
    "async_actor_async": "the runtime's bookkeeping, about 45 µs of Python a call",
    "placement_group": (
        "three messages and one answer: 75 µs of CPU in the runtime and 135 µs in the driver for each group "
        "(the kernel's clock of each process)"
    ),
    "observed": (
        "the panel's process decodes and folds what happens beside the program: 5 µs to decode and 15 µs to fold a "
        "task's events where each is told; of bursts that begin and end within 0.2 s the notebook is told the number"
    ),
    "actor_create": (
        "a process for each actor: 7 ms of CPU in it from its fork to its end, with 1,450 page faults until "
        "its first call, and 2.7 ms in the template and the runtime; an actor of Dask is an object in a "
        "worker that is there"
    ),
    "idle_memory": (
        "runtime, template and two workers share what they imported (37 MB of PSS together); the workers of a"
        " `ProcessPoolExecutor` are forks of the driver alone"
    ),
    "nested_warm": (
        "each level wakes the runtime twice and its own process twice: 0.2 ms of CPU in the runtime and 0.45 "
        "ms in the worker, half of it in system calls that wake the other side"
    ),
    "refs_10k": ("a Python object and two counts for each reference: 1.1 µs to make it and let it go"),
}
