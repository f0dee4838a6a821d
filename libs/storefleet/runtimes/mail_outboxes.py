"""Mail outboxes of stores, as every runtime that serves stores finds them.

A store keeps the mails that it would send; docs/engines.md defines how it serves them. The gateway
fetches them from where the runtime finds the outbox.
"""

from storefleet.core.errors import Conflict
from storefleet.core.models import Store
from storefleet.engines.descriptor import Engine

_CODE = "no_mail_outbox"


def get_mail_path(store: Store, engine: Engine | None) -> str:
    """Return the path of a store's mail outbox.

    Args:
        store: The store.
        engine: Its engine; None if it is not offered any more.

    Raises:
        Conflict: `no_mail_outbox`; the engine keeps no mails, or the store is not created yet, is
            being deleted or is deleted.
    """
    if store.admin_url is None or store.state in ("deleting", "deleted"):
        raise Conflict(f"The store is {store.state} and has no mails to read.", code=_CODE)
    if engine is None or engine.mail is None:
        name = engine.title if engine else store.engine
        raise Conflict(f"Stores of the engine {name} keep no mails to read.", code=_CODE)
    return engine.mail.path


def make_missing_key_error(store: Store, *, remedy: str) -> Conflict:
    """Make the error for a store that was created before its engine had a mail outbox.

    Args:
        store: The store.
        remedy: The sentence that says what adds the key.
    """
    return Conflict(
        f"The store {store.name} has no key for its mail outbox: it was created before stores had"
        f" one. {remedy}",
        code=_CODE,
    )
