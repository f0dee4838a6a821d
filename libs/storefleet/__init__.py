"""Storefleet launches, upgrades and deletes online stores on Kubernetes."""

__version__ = "0.1.0"
