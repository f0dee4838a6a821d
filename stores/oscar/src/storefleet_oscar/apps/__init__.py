"""Our forks of Oscar's applications, each found by Oscar through its label."""
