"""Apply the store's configuration to its database.

It runs at every start and at every set-up, and is quick when nothing has changed.
"""

import logging
import time

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.db import OperationalError, connection, transaction
from oscar.core.loading import get_model

from storefleet_oscar.configuration import Store

DATABASE_TIMEOUT_S = 60.0
DATABASE_POLL_INTERVAL_S = 0.25
SITE_NAME_LENGTH_MAX = 50

_log = logging.getLogger(__name__)


def wait_for_database(*, timeout_s: float = DATABASE_TIMEOUT_S) -> None:
    """Connect to the database, retrying while the server is unavailable or recovering.

    Raises OperationalError after `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    has_warned = False
    while True:
        try:
            connection.ensure_connection()
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            if not has_warned:
                _log.warning("The database does not answer yet. Retrying.")
                has_warned = True
            time.sleep(DATABASE_POLL_INTERVAL_S)
        else:
            return


def converge_store(store: Store) -> None:
    """Apply title, address, currency and first administrator in one transaction."""
    with transaction.atomic():
        # The row is also the lock: two processes of one store converge one after the other.
        site, _ = Site.objects.select_for_update().get_or_create(pk=settings.SITE_ID)
        _update_site(site, store)
        _update_currency(store.currency)
        _ensure_administrator(store)


def _update_site(site: Site, store: Store) -> None:
    name = store.title[:SITE_NAME_LENGTH_MAX]
    if (site.domain, site.name) != (store.domain, name):
        site.domain, site.name = store.domain, name
        site.save()


def _update_currency(configured: str) -> None:
    """Set the currency of all prices; after the first order the currency stays as it is."""
    stock_record = get_model("partner", "StockRecord")
    if get_model("order", "Order").objects.exists():
        current = stock_record.objects.values_list("price_currency", flat=True).first()
        settings.OSCAR_DEFAULT_CURRENCY = current or configured
        return
    stale = stock_record.objects.exclude(price_currency=configured)
    if stale.update(price_currency=configured):
        get_model("basket", "Line").objects.update(price_currency=configured)


def _ensure_administrator(store: Store) -> None:
    """Create the administrator if there is none; the owner may change name and password later."""
    users = get_user_model().objects
    if not users.filter(is_superuser=True).exists():
        users.create_superuser(store.admin_email, store.admin_email, store.admin_password)
        _log.info("Administrator created")
