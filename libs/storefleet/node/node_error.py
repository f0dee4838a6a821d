"""The error that ends a command of the local node with one line on the terminal."""

from storefleet.core.errors import StorefleetError


class NodeError(StorefleetError):
    """The local node cannot start or continue; the text has cause and next step."""
