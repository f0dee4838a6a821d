"""Apply the store's configuration to its database: once, when the store is new.

Afterwards the store is its owner's. A start follows the platform's address only.
"""

import logging
import time

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.db import OperationalError, connection, transaction
from django.db.models import Count
from oscar.core.loading import get_model

from storefleet_oscar.configuration import Store
from storefleet_oscar.models import STATE_ID, StoreState

DATABASE_TIMEOUT_S = 60.0
DATABASE_POLL_INTERVAL_S = 0.25

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


def install_store(store: Store) -> None:
    """Apply title, address, currency and first administrator to a new store, once.

    A store that is installed is its owner's: nothing here is applied to it again.
    """
    with transaction.atomic():
        # The row is also the lock: two processes of one store install one after the other.
        site, _ = Site.objects.select_for_update().get_or_create(pk=settings.SITE_ID)
        if StoreState.objects.exists():
            return
        site.domain, site.name = store.domain, store.title
        site.save()
        get_model("partner", "StockRecord").objects.update(price_currency=store.currency)
        get_model("basket", "Line").objects.update(price_currency=store.currency)
        users = get_user_model().objects
        if not users.filter(is_superuser=True).exists():
            users.create_superuser(store.admin_email, store.admin_email, store.admin_password)
            _log.info("Administrator created")
        StoreState.objects.create(pk=STATE_ID, domain=store.domain)


def follow_address(store: Store) -> None:
    """Update the site's domain after the platform has changed the store's address.

    Links in mails contain it. A domain that the platform did not write is the owner's and stays.
    """
    with transaction.atomic():
        state = StoreState.objects.select_for_update().filter(pk=STATE_ID).first()
        if state is None or state.domain == store.domain:
            return
        Site.objects.filter(pk=settings.SITE_ID, domain=state.domain).update(domain=store.domain)
        state.domain = store.domain
        state.save(update_fields=["domain"])


def read_currency(store: Store) -> None:
    """Let new prices have the currency that most prices of the store have."""
    records = get_model("partner", "StockRecord").objects.values_list("price_currency")
    used = records.annotate(count=Count("pk")).order_by("-count", "price_currency").first()
    orders = get_model("order", "Order").objects.order_by("-pk").values_list("currency").first()
    settings.OSCAR_DEFAULT_CURRENCY = (used or orders or (store.currency,))[0]
