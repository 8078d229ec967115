"""The shared-memory object store, as one process sees it: files that it writes once, and maps to read.

`segments` owns the files, `payloads` decides what goes into one. Which objects live, and when a file is removed, is
the runtime's business alone.
"""
