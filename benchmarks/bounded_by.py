"""What bounds the rows that fall short, as profiles show: one sentence each, quoted in RESULTS.md while it is so."""

BOUNDED_BY: dict[str, str] = {
    "tasks_wait": (
        "each `wait` checks all references that are left and sends their ids, half a million visits for 1,000 calls: "
        "more than a third of the driver's time (sampled 2026-11-25)"
    ),
    "observed": (
        "of each task's events, the driver needs 5 µs of CPU to decode and 15 µs to fold them and to make the panel's "
        "messages, the runtime 4 µs to send them, beside 90 µs for the task itself (2026-11-25)"
    ),
}
