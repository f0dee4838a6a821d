"""The documents and the source that they are compared with."""
