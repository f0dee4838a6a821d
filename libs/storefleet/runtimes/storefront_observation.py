"""What a store's storefront, admin and checks answered at one moment, and what that means.

Pure functions and models. `storefront_check` requests the pages; version changes compare the
observation after a change with the one right before it, the baseline (`change_check`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from storefleet.core.models import FrozenModel
from storefleet.core.observed import StorefrontClass
from storefleet.engines.store_pages import CheckedPage
from storefleet.observability import logs

log = logs.get_logger(__name__)

#: The last segment of a sign-in page's path: `/wp-login.php`, `/accounts/login/`, `/password`.
_SIGN_IN_PATH = re.compile(
    r"(?i)(?:^|/)(?:[a-z]+[-_])?(?:log[-_]?in|sign[-_]?in|auth|password|sso)(?:\.[a-z]+)?/?$"
)
#: Bounded, since a store's page may be made to keep an unbounded search busy.
_PASSWORD_FIELD = re.compile(rb"""(?i)<input\b[^<>]{0,300}?\btype\s{0,9}=\s{0,9}["']?password""")
_SIGN_IN_FORM_BYTES = 128 << 10


class PageAnswer(NamedTuple):
    """The answer to the request of one page.

    Attributes:
        status: The HTTP status; None without an answer.
        body: The body, up to the size limit.
        path: Path of the answer, which differs from the requested one after redirects.
        is_redirected: Whether it came after a redirect, or is one to another host.
        problem: Why there is no usable answer, as the end of a sentence; empty if there is one.
    """

    status: int | None = None
    body: bytes = b""
    path: str = "/"
    is_redirected: bool = False
    problem: str = ""

    @property
    def status_class(self) -> str:
        """The class of the status, such as `2xx`; `none` without a usable answer."""
        return f"{self.status // 100}xx" if self.status and not self.problem else "none"

    @property
    def text(self) -> str:
        """What was answered, as the end of a sentence."""
        return self.problem or f"answers {self.status}"

    @property
    def is_sign_in(self) -> bool:
        """Whether visitors are asked to sign in."""
        if self.status in (401, 403):
            return True
        return self.is_redirected and bool(
            _SIGN_IN_PATH.search(self.path.partition("?")[0])
            or _PASSWORD_FIELD.search(self.body[:_SIGN_IN_FORM_BYTES])
        )

    def find_problem(self, page: CheckedPage) -> str | None:
        """Find why the answer does not pass a check: the end of a sentence; None if it passes."""
        if self.problem:
            return self.problem
        if self.status != 200:
            return f"answers {self.status}"
        return None if page.expect.encode() in self.body else f"does not show “{page.expect}”"


class CheckResult(FrozenModel):
    """The result of one check in `checks.healthy`.

    Attributes:
        label: What was checked, for people.
        path: The check's path; with `expect` it identifies the check.
        expect: Its expected text.
        problem: What is wrong, as the end of a sentence; None if the check passes.
    """

    label: str
    path: str
    expect: str
    problem: str | None = None


class StorefrontObservation(FrozenModel):
    """What a store answered at one moment.

    Attributes:
        storefront: The class of the storefront.
        storefront_status: Class of the front page's status, such as `2xx`; `none` without answer;
            empty if it is not to be compared.
        storefront_text: What the front page answered, as the end of a sentence.
        admin_status: The same of the admin page; empty if it was not requested.
        admin_text: What the admin page answered; empty if it was not requested.
        checks: The results of `checks.healthy`.
    """

    storefront: StorefrontClass = StorefrontClass.UNKNOWN
    storefront_status: str = "none"
    storefront_text: str = "was not requested"
    admin_status: str = ""
    admin_text: str = ""
    checks: tuple[CheckResult, ...] = ()

    @property
    def is_comparable(self) -> bool:
        """Whether the front page answered, so that a later observation can be compared with it."""
        if self.storefront in (StorefrontClass.CLOSED_BY_OWNER, StorefrontClass.PROTECTED):
            return True
        return not _is_failure(self.storefront_status)

    @property
    def is_served(self) -> bool:
        """Whether storefront and admin answer, in whatever way the owner chose.

        A maintenance page may cover the admin, too.
        """
        if self.storefront is StorefrontClass.CLOSED_BY_OWNER:
            return True
        return self.storefront is not StorefrontClass.DOWN and not _is_failure(self.admin_status)

    def without_pages(self) -> "StorefrontObservation":
        """Return the observation with the checks only: storefront and admin are not compared."""
        return self.model_copy(
            update={
                "storefront": StorefrontClass.UNKNOWN,
                "storefront_status": "",
                "admin_status": "",
            }
        )

    @property
    def summary(self) -> str:
        """The observation in one sentence."""
        texts = [f"The storefront is {_format_class(self)}: it {self.storefront_text}"]
        texts += [
            f"the check “{each.label}” {each.problem}" for each in self.checks if each.problem
        ]
        return "; ".join(texts)


def classify_storefront(
    front: PageAnswer, *, is_closed: bool, checks: Sequence[CheckResult]
) -> StorefrontClass:
    """Classify a storefront by its front page and the engine's checks.

    Args:
        front: The answer of the front page, after redirects on the store's host.
        is_closed: Whether the engine says that the owner closed the store.
        checks: The results of `checks.healthy`.
    """
    all_pass = all(each.problem is None for each in checks)
    if front.status_class == "none":
        return StorefrontClass.DOWN
    if front.is_sign_in:
        return StorefrontClass.PROTECTED
    if all_pass and (front.status == 503 or (is_closed and front.status_class != "5xx")):
        return StorefrontClass.CLOSED_BY_OWNER
    if not all_pass or front.status_class == "5xx":
        return StorefrontClass.DOWN
    return StorefrontClass.SERVING


def list_regressions(
    baseline: StorefrontObservation,
    observation: StorefrontObservation,
    *,
    is_proven_code: bool = False,
) -> list[str]:
    """List what answered before a change and does not answer in the same way any more.

    Args:
        baseline: The observation right before the change.
        observation: The observation after it.
        is_proven_code: Whether the version served this store before. Then another answer of a page
            is its owner's, as long as the page answers.

    Returns:
        Sentences; none if the store answers as before, or if it was down before.
    """
    if not baseline.is_comparable:
        return []
    regressions = []
    results = {(each.path, each.expect): each for each in observation.checks}
    for before in baseline.checks:
        after = results.get((before.path, before.expect))
        if before.problem is None and after is not None and after.problem is not None:
            regressions.append(f"The check “{after.label}” passed before and now {after.problem}.")
    if not baseline.storefront_status:
        return regressions
    if is_proven_code and observation.is_served and not regressions:
        return []
    are_closed = baseline.storefront is observation.storefront is StorefrontClass.CLOSED_BY_OWNER
    if baseline.storefront_status != observation.storefront_status and not are_closed:
        regressions.append(
            f"The front page answered {baseline.storefront_status} before and now"
            f" {observation.storefront_text}."
        )
    elif baseline.storefront not in (observation.storefront, StorefrontClass.DOWN) and not (
        regressions and observation.storefront is StorefrontClass.DOWN
    ):
        regressions.append(
            f"The storefront was {_format_class(baseline)} before and is now"
            f" {_format_class(observation)}."
        )
    was_served = baseline.admin_status and not _is_failure(baseline.admin_status)
    if was_served and observation.admin_status not in ("", baseline.admin_status):
        regressions.append(
            f"The admin page answered {baseline.admin_status} before and now"
            f" {observation.admin_text}."
        )
    return regressions


def carry_over_baseline(
    baseline: StorefrontObservation, current: StorefrontObservation
) -> StorefrontObservation:
    """Update the baseline of a failed operation for its retry.

    Meanwhile the owner may have closed, opened or protected the store; such an answer of a store
    whose checks pass is no damage, so it is expected after the retry. Everything else is expected
    as it was before the failed operation.

    Args:
        baseline: The baseline of the failed operation.
        current: The observation right before the retry.
    """
    if not baseline.is_comparable:
        return current
    owner_states = (StorefrontClass.CLOSED_BY_OWNER, StorefrontClass.PROTECTED)
    if any(each.problem for each in current.checks):
        return baseline
    is_switched = current.storefront in owner_states
    is_opened = (
        baseline.storefront in owner_states and current.storefront is StorefrontClass.SERVING
    )
    if not (is_switched or is_opened):
        return baseline
    expected: dict[str, Any] = {"checks": baseline.checks}
    if _is_failure(current.admin_status):
        expected |= {"admin_status": baseline.admin_status, "admin_text": baseline.admin_text}
    return current.model_copy(update=expected)


def parse_baseline(value: Mapping[str, Any] | None) -> StorefrontObservation | None:
    """Parse a recorded baseline.

    Args:
        value: The JSON object of the column `operations.baseline`.

    Returns:
        The baseline; None if there is none, or if another version of the platform has written it
        in a form that this one cannot read. Then nothing is compared.
    """
    if value is None:
        return None
    try:
        return StorefrontObservation.model_validate(value)
    except ValidationError as error:
        log.warning("baseline_unreadable", errors=error.error_count())
        return None


def _is_failure(status_class: str) -> bool:
    return status_class in ("none", "5xx")


def _format_class(observation: StorefrontObservation) -> str:
    return observation.storefront.replace("_", " ")
