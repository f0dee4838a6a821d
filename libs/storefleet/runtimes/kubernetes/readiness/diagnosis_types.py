"""The outcomes of a diagnosis, and the tolerances that decide when a problem is final."""

import math
from typing import NamedTuple


class FailureTolerance(NamedTuple):
    """How much may go wrong, and for how long, before a problem counts as final.

    Attributes:
        image_pull_s: Seconds in which an image may fail to be pulled.
        scheduling_s: Seconds in which no node may fit a pod.
        max_restarts: Restarts of a container that is waiting for its next one.
        first_crash_s: Seconds after the first crash of a long-running container.
        max_job_failures: Failed pods of a Job, which also has its own backoff limit.
        first_job_failure_s: Seconds after the first failed pod of a Job.
        no_progress_s: Seconds after a Deployment has exceeded its progress deadline. The condition
            outlives its cause: after a retry it disappears with the first pod that is ready.
    """

    image_pull_s: float = 20
    scheduling_s: float = 40
    max_restarts: int = 3
    first_crash_s: float = math.inf
    max_job_failures: int = 1_000_000
    first_job_failure_s: float = math.inf
    no_progress_s: float = 60


CREATE_TOLERANCE = FailureTolerance()
#: Shorter than at creation: the previous version still serves, so failing early costs little.
VERSION_CHANGE_TOLERANCE = FailureTolerance(
    image_pull_s=15,
    scheduling_s=25,
    max_restarts=2,
    first_crash_s=30,
    max_job_failures=3,
    first_job_failure_s=30,
)


#: As at creation, except for the set-up: the version has served before without it.
ROLLBACK_TOLERANCE = FailureTolerance(max_job_failures=3, first_job_failure_s=30)


class WarningEvent(NamedTuple):
    """A Kubernetes Event of type Warning; `kind` and `name` are those of the involved object."""

    kind: str
    name: str
    reason: str
    message: str


class Ready(NamedTuple):
    """Everything runs as wanted; `text` summarizes it."""

    text: str


class NotReady(NamedTuple):
    """The store is still starting; `text` completes “Waiting for …”."""

    text: str


class ReadinessProblem(NamedTuple):
    """A problem that may resolve itself within its grace period.

    Attributes:
        code: Failure code.
        cause: What is wrong, as a sentence.
        next_step: What a person should do.
        grace_period_s: Seconds after which the problem is final.
        pod: The pod concerned; may be empty.
        container: The container of that pod whose log tail explains more; may be empty.
    """

    code: str
    cause: str
    next_step: str
    grace_period_s: float
    pod: str = ""
    container: str = ""


Diagnosis = Ready | NotReady | ReadinessProblem


def describe_wait(diagnosis: NotReady | ReadinessProblem) -> str:
    """Describe the diagnosis of a store that is not ready, as a status message."""
    if isinstance(diagnosis, NotReady):
        return f"Waiting for {diagnosis.text}"
    return diagnosis.cause
