"""What checks have last observed of a ready store: its storefront, and its cron calls.

Only words, without dependencies: the command line uses them, too. The owner decides what the
storefront shows; the platform reports it. The reaper writes it (`services/reaper/`).
"""

from enum import StrEnum
from typing import NamedTuple


class StorefrontClass(StrEnum):
    """What a store's storefront shows to the public, as a check has observed it."""

    SERVING = "serving"
    CLOSED_BY_OWNER = "closed_by_owner"
    PROTECTED = "protected"
    DOWN = "down"
    #: Not checked yet, or the store is not ready.
    UNKNOWN = "unknown"


class CronState(StrEnum):
    """What became of a store's latest cron calls."""

    CALLING = "calling"
    CLOSED_BY_OWNER = "closed_by_owner"
    FAILING = "failing"
    #: The engine has no cron call, none was answered yet, or the store is not ready.
    NONE = "none"


class ObservedText(NamedTuple):
    """A class in words for people: a label, what it means, and what to do."""

    label: str
    meaning: str
    next_step: str


STOREFRONT_TEXTS: dict[str, ObservedText] = {
    StorefrontClass.SERVING: ObservedText("Serving", "", ""),
    StorefrontClass.CLOSED_BY_OWNER: ObservedText(
        "Closed by its owner",
        "Visitors see a notice instead of the store. The store itself works.",
        "Open the store again in its admin, when it is time: switch off “coming soon” or the"
        " maintenance mode there.",
    ),
    StorefrontClass.PROTECTED: ObservedText(
        "Protected by a password or sign-in",
        "Visitors need a password or an account to see the store. The store itself works.",
        "To open the store to everybody, remove the password or the sign-in in its admin.",
    ),
    StorefrontClass.DOWN: ObservedText(
        "Not answering",
        "The store does not answer, answers with an error, or reports that a part of it fails, at"
        " two checks in a row.",
        "Read the store's log. Undo what was last changed in the admin, or roll the store back if"
        " it was upgraded. The store is checked again every minute.",
    ),
}
CRON_TEXTS: dict[str, ObservedText] = {
    CronState.CALLING: ObservedText("Running", "", ""),
    CronState.CLOSED_BY_OWNER: ObservedText(
        "Closed by its owner",
        "The store rejects the cron call, so its scheduled tasks wait for visitors or do not run.",
        "If that is not intended, permit the cron address in the store's admin.",
    ),
    CronState.FAILING: ObservedText(
        "Failing",
        "The store answers the cron call with an error or not at all, several times in a row.",
        "Read the store's log.",
    ),
}
