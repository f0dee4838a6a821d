"""The `storefleet` command line: a client of the HTTP API, and the commands of the local node."""
