"""Readiness of a store on Kubernetes: resource snapshots, diagnosis, grace periods and the wait."""
