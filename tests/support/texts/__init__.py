"""Texts of every kind, and the strategies that generate more."""
