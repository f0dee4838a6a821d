"""The command line: a caller of the API like any other, and the door to the local node."""
