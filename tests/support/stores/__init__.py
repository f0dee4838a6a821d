"""Customers and owners of the stores of each engine."""
