"""Forks of Oscar's applications; Oscar finds each by its label."""
