"""The commands of the `storefleet` command line, one module per group."""
