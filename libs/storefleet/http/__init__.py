"""The HTTP side that all services share: application, problems, validation, health, shutdown."""
