"""A single-node Kubernetes without Docker: real programs in namespaces of their own, nothing left behind."""
