"""Let the site's name, which mails contain, hold a whole title."""

from typing import ClassVar

from django.db import migrations

from storefleet_oscar.configuration import TITLE_LENGTH_MAX


class Migration(migrations.Migration):
    """A longer column; the table is not rewritten, and earlier versions can read it."""

    dependencies: ClassVar = [
        ("storefleet_oscar", "0001_initial"),
        ("sites", "0002_alter_domain_unique"),
    ]
    operations: ClassVar = [
        migrations.RunSQL(
            f"ALTER TABLE django_site ALTER COLUMN name TYPE varchar({TITLE_LENGTH_MAX})",
            migrations.RunSQL.noop,
        )
    ]
