"""Benchmarks: this project beside others, in one run on one machine."""
