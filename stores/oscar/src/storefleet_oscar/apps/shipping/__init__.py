"""Shipping at a flat rate."""
