"""What a person is told, in one line, when the node cannot go on."""

from storefleet.core.errors import StorefleetError


class NodeError(StorefleetError):
    """What happened, why, and the way out."""
