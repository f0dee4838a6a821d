"""Cache the stores of running operations as this process wrote them last."""

from storefleet.core.models import Store


class WrittenStores:
    """A cache of stores by operation, which saves the recorder a read per transition.

    A frequent transition starts from the cached store instead of reading the row. That is safe,
    because its statement compares the store's version: when another process has changed the row,
    nothing is written, and the recorder reads the row. An entry is removed before it is used, so
    that no store is used twice, and at the end of the claim.
    """

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}

    def put(self, operation_id: str, store: Store) -> None:
        """Keep the store as it was written for the operation."""
        self._stores[operation_id] = store

    def take(self, operation_id: str) -> Store | None:
        """Remove the store from the cache and return it; None when it is not there."""
        return self._stores.pop(operation_id, None)

    def discard(self, operation_id: str) -> None:
        """Remove the store: its row changes in another way, or the claim is over."""
        self._stores.pop(operation_id, None)
