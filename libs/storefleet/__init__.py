"""Storefleet: whole online shops, made and removed by one command."""

__version__ = "0.1.0"
