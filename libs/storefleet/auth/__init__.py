"""Accounts and authentication: tenants with their owners, sessions, API tokens, principals."""
