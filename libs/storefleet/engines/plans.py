"""Plans: the resources that a store may use on Kubernetes."""

from typing import Any

from pydantic import Field

from storefleet.core.models import FrozenModel

#: Kubernetes quantities by resource name, such as `{"limits.cpu": "1500m"}`.
ResourceAmounts = dict[str, str | int | float]


class EnginePlan(FrozenModel):
    """One plan of an engine.

    Attributes:
        title: Its name for people.
        quota: ResourceQuota of the pods that keep running.
        jobs: ResourceQuota of the pods that terminate.
        storage: ResourceQuota of volumes.
        limits: LimitRange of a container: `default`, `defaultRequest`, `max`.
        values: Helm values that are merged into the chart's.
        upload_max_bytes: The largest file that the owner can upload, passed to the chart as
            `uploadMaxBytes`; None if the engine decides.
    """

    title: str
    quota: ResourceAmounts
    jobs: ResourceAmounts
    storage: ResourceAmounts
    limits: dict[str, ResourceAmounts]
    values: dict[str, Any] = Field(default_factory=dict)
    upload_max_bytes: int | None = Field(default=None, ge=1024**2, le=2 * 1024**3)

    @property
    def summary(self) -> dict[str, str]:
        """The amounts by which a person chooses a plan: CPU, memory and storage."""
        return {
            "cpu": str(self.quota.get("limits.cpu", "")),
            "memory": str(self.quota.get("limits.memory", "")),
            "storage": str(self.storage.get("requests.storage", "")),
        }
