"""The embedded PostgreSQL and NATS servers, their roles, schema and streams."""
