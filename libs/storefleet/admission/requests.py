"""Requests that admission decides on, one frozen class for each.

The gateway makes them from HTTP bodies and forms. They contain neither HTTP nor the principal.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class CreateStore:
    """Create a store.

    Attributes:
        name: The label of its host name; see `core/store_names.py`.
        engine: The engine's name; None for the configured default.
        parameters: The engine-specific choices, as JSON.
        version: The engine version; None for the engine's default.
        plan: The plan's name; None for the engine's default.
    """

    name: str
    engine: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    version: str | None = None
    plan: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object whose hash is compared when an idempotency key is repeated."""
        optional = {"version": self.version, "plan": self.plan}
        return {
            "name": self.name,
            "engine": self.engine,
            "parameters": self.parameters,
            **{key: value for key, value in optional.items() if value is not None},
        }


@dataclass(frozen=True, kw_only=True)
class DeleteStore:
    """Delete a store. `store_ref` is its id or its name."""

    store_ref: str


@dataclass(frozen=True, kw_only=True)
class RetryOperation:
    """Run the failed operation of a store again. `store_ref` is the store's id or its name."""

    store_ref: str


@dataclass(frozen=True, kw_only=True)
class CancelOperation:
    """Cancel an open operation."""

    operation_id: str


@dataclass(frozen=True, kw_only=True)
class UpgradeStore:
    """Give a store another engine version. `store_ref` is its id or its name."""

    store_ref: str
    version: str


@dataclass(frozen=True, kw_only=True)
class RollBackStore:
    """Roll a store back to the version before its last upgrade.

    Attributes:
        store_ref: The store's id or its name.
        restore: Whether to restore the dump from before the upgrade.
        discard_orders: Whether the orders placed since that dump may be lost.
    """

    store_ref: str
    restore: bool = False
    discard_orders: bool = False
