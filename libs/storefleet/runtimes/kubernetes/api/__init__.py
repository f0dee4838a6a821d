"""The Kubernetes API: client, resource kinds, watcher, and the mapping of API errors to ours."""
