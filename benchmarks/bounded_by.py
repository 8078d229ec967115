"""What bounds the rows that fall short, as profiles show: one sentence each, quoted in RESULTS.md while it is so."""

BOUNDED_BY: dict[str, str] = {}
