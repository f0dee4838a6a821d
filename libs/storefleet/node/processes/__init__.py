"""Start, record, supervise and stop the child processes of the local node."""
