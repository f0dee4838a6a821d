"""The HTTP side that all services share: application, problems, health, graceful shutdown."""
