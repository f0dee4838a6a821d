"""The dashboard: server-rendered pages that work without scripts and update live with them."""
