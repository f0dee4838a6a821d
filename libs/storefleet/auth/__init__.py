"""Accounts, sessions and tokens, and the authentication of requests."""
