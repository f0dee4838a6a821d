"""Run stores as processes on one machine, without isolation."""
