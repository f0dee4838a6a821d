"""The local node: as a kubelet is to a cluster, it owns the processes of one machine.

An embedded PostgreSQL and nats-server, the four services and every store's process run under one supervisor, with all
state in one private folder.
"""
