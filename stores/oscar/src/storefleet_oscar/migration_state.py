"""Which migrations this version has, and which of them a database lacks.

It reads names of files only: importing all migrations would take half a second and 10 MB.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import connection


@cache
def list_migrations() -> frozenset[str]:
    """Return `<app>.<name>` of every migration of the installed applications."""
    found: set[str] = set()
    for config in apps.get_app_configs():
        module = settings.MIGRATION_MODULES.get(config.label, f"{config.name}.migrations")
        spec = find_spec(module) if module else None
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            names = (path.stem for path in Path(folder).glob("*.py"))
            found |= {f"{config.label}.{name}" for name in names if name[0] not in "_~"}
    return frozenset(found)


def list_missing_migrations() -> set[str]:
    """Return the migrations of this version that the database lacks; raises DatabaseError."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return set(list_migrations())
        cursor.execute("SELECT app || '.' || name FROM django_migrations")
        return set(list_migrations()) - {row[0] for row in cursor.fetchall()}
