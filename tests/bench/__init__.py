"""Benchmarks of the platform: `make bench`, or one part with `python -m tests.bench.<part>`."""
