"""What bounds the rows that fall short: one sentence each, quoted in RESULTS.md while it is so.

Most rest on samples or on the CPU time of each process. What begins with "inferred" was not profiled.
"""

BOUNDED_BY: dict[str, str] = {
    "first": (
        "a second interpreter: it starts 20 ms after the program's first line, imports for 90 ms what runtime and "
        "workers need, and forks the first worker 15 ms later (timestamps); a `ProcessPoolExecutor` forks the driver "
        "and imports nothing"
    ),
    "tasks_sync": (
        "two hops and what both ends do for a call: 60 µs of CPU in the driver and 55 µs in the worker "
        "(the kernel's clock of each process, 2026-11-26), if both find a processor free"
    ),
    "tasks_async": (
        "the runtime's bookkeeping, about 19 µs of CPU a task, beside 9 µs in the driver and 13 µs in the workers (the "
        "kernel's clock of each process); of the runtime's, a sampling profiler sees nothing that takes more than 7%"
    ),
    "tasks_batch": "the runtime's bookkeeping, about 19 µs of CPU a task",
    "tasks_wait": (
        "20 ms of the driver's CPU for 1,000 calls, half of it for a look at all references that are left, and the "
        "runtime's bookkeeping for the tasks, 25 ms, which goes on at the same time"
    ),
    "actor_sync": (
        "two hops and what both ends do for a call: 55 µs of CPU in the driver and 55 µs in the actor's process, "
        "if both find a processor free"
    ),
    "actor_async": (
        "the runtime's bookkeeping, about 19 µs of CPU a call, and that it shares two cores with the driver, 8 µs a "
        "call, and the actor, 12 µs (the kernel's clock of each process)"
    ),
    "actor_concurrent": (
        "the runtime's bookkeeping, about 20 µs of CPU a call, beside 14 µs in the actor's process and 9 µs "
        "in the driver (the kernel's clock of each process)"
    ),
    "actor_1n": "the runtime's bookkeeping, about 20 µs of CPU a call",
    "actor_nn": (
        "the runtime's bookkeeping, about 21 µs of CPU a call: it alone allows 47,000 calls a second, if the six "
        "other processes leave it a processor, and it has little to do when callers begin and end together"
    ),
    "async_actor_sync": (
        "two hops and what both ends do for a call: 65 µs of CPU in the driver, 67 µs in the actor's process,"
        " 14 µs in the runtime (the kernel's clock of each process)"
    ),
    "async_actor_async": ("the runtime's bookkeeping, about 22 µs of CPU a call, and 15 µs in the actor's event loop"),
    "placement_group": (
        "three messages and one answer: 75 µs of CPU in the runtime and 95 µs in the driver for each group "
        "(the kernel's clock of each process)"
    ),
    "observed": (
        "the runtime looks at each event for the panel: 1 µs of CPU for a task, where it costs 19 µs in all; the "
        "panel's process has 0.5 µs more (the kernel's clock of each)"
    ),
    "actor_create": (
        "a process for each actor: 7 ms of CPU in it from its fork to its end, with 1,420 page faults until "
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
    "put_large_clients": ("memory: two processes copy at once, each with two threads"),
    "idle_cpu": "nothing: 0.02% of a processor is what the kernel's clock can tell of a few wake-ups in seconds",
    "refs_10k": (
        "a Python object, a finalizer of its own and two counts for each reference: 1.7 µs to make it and let it go"
    ),
    "stream_bounded": (
        "inferred: for every few items the reader's word goes through the runtime to the worker, which wakes for it, "
        "and the next items come back the same way"
    ),
}
