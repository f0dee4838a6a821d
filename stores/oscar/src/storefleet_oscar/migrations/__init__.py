"""Migrations of the platform's own tables in a store."""
