"""The local node: the supervisor of all processes of the platform on one machine.

`storefleet up` starts PostgreSQL, nats-server, the four services and the processes of the local
stores, and restarts them when they end. All state is in one private folder.
"""
