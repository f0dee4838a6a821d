"""What ends a command of a deployment."""

from storefleet.core.errors import StorefleetError


class DeploymentError(StorefleetError):
    """What happened, why, and the way out, in one line."""


class DependencyNotReady(DeploymentError):
    """Something that was waited for did not come in time."""
