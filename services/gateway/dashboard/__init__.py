"""The dashboard: server-rendered pages that update live."""
