"""The monitor: folds a runtime's events into one model and tells the panel what changed. It knows no engine."""
