"""The command groups of the `storefleet` command line."""
