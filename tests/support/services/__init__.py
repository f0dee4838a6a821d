"""PostgreSQL, NATS and the services of the platform, started for tests."""
