"""The cache of the recorder: stores as they were written last."""

from storefleet.core.models import Store


class WrittenStores:
    """The stores as this process wrote them last, by operation: a cache that saves a read.

    A frequent transition starts from the cached store instead of reading the row. That is safe,
    because its statement compares the store's version: when another process has changed the row,
    nothing is written, and the recorder reads it. An entry is taken out before it is used, so
    that it is never used twice, and lives as long as the claim.
    """

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}

    def put(self, operation_id: str, store: Store) -> None:
        """Keep the store as it was written for the operation."""
        self._stores[operation_id] = store

    def take(self, operation_id: str) -> Store | None:
        """Take the store out of the cache; None when it is not there."""
        return self._stores.pop(operation_id, None)
