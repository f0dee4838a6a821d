"""Measurements of the platform's speed and size: `make bench`, or one part with `python -m tests.bench.<part>`."""
