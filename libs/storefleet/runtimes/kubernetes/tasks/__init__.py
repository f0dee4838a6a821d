"""Run a store's dump, restore and order-count tasks as Kubernetes Jobs."""
