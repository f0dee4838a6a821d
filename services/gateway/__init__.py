"""Takes intentions in (HTTP API, dashboard) and relays the outbox to the bus."""
