"""A worker process: receives `Execute`, runs user code, reports `Done`."""
