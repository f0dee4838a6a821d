"""Clients of the HTTP API, the pages and the event websocket."""
