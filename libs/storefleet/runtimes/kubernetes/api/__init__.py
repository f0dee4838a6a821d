"""The adapter to the Kubernetes API: client, resource kinds, error mapping, watches."""
