"""Bring a store's database to what its configuration says; run at every start, quick when nothing is to do."""

import logging
import time

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.db import OperationalError, connection, transaction
from oscar.core.loading import get_model

from storefleet_oscar.configuration import Store

DATABASE_PATIENCE = 60.0
DATABASE_PAUSE = 0.25
SITE_NAME_LENGTH = 50

_log = logging.getLogger(__name__)


def wait_for_database(*, patience: float = DATABASE_PATIENCE) -> None:
    """Connect, trying again for `patience` seconds while the server is away or recovers; raises OperationalError."""
    deadline = time.monotonic() + patience
    told = False
    while True:
        try:
            connection.ensure_connection()
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            if not told:
                _log.warning("the database does not answer yet")
                told = True
            time.sleep(DATABASE_PAUSE)
        else:
            return


def converge(store: Store) -> None:
    """Name and address of the shop, its currency, its first administrator; all of it or nothing."""
    with transaction.atomic():
        # The row is also the lock: a store that is started twice converges once after the other.
        site, _ = Site.objects.select_for_update().get_or_create(pk=settings.SITE_ID)
        _name_site(site, store)
        _settle_currency(store.currency)
        _ensure_administrator(store)


def _name_site(site: Site, store: Store) -> None:
    name = store.title[:SITE_NAME_LENGTH]
    if (site.domain, site.name) != (store.domain, name):
        site.domain, site.name = store.domain, name
        site.save()


def _settle_currency(wanted: str) -> None:
    """Prices follow the parameter until something was sold; from then on the shop stays with what it sold in."""
    stock_record = get_model("partner", "StockRecord")
    if get_model("order", "Order").objects.exists():
        used = stock_record.objects.values_list("price_currency", flat=True).first()
        settings.OSCAR_DEFAULT_CURRENCY = used or wanted
        return
    if stock_record.objects.exclude(price_currency=wanted).update(price_currency=wanted):
        get_model("basket", "Line").objects.update(price_currency=wanted)


def _ensure_administrator(store: Store) -> None:
    """Only a shop without any administrator gets one: a changed name or password is the owner's."""
    users = get_user_model().objects
    if not users.filter(is_superuser=True).exists():
        users.create_superuser(store.admin_email, store.admin_email, store.admin_password)
        _log.info("the administrator was made")
