"""The errors of a deployment's commands."""

from storefleet.core.errors import StorefleetError


class DeploymentError(StorefleetError):
    """A part of a deployment cannot be set up or used; the text has cause and next step."""


class DependencyNotReady(DeploymentError):
    """A server or the schema was not ready in time."""
