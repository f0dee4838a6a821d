"""The gateway: serves the HTTP API and the dashboard, and relays the outbox to NATS."""
