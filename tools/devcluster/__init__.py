"""The bare cluster: a single-node Kubernetes on Linux without Docker, for development and tests.

The node is one process in Linux namespaces of its own that starts all other programs; when it
ends, the kernel ends everything in it. `up` and `down` are the entry points of `cli`; `programs`
provides the programs, `node` starts them, `kubernetes` applies objects to the running cluster.
"""
