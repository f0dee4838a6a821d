"""Create the tables of the store's state and of its mail outbox."""

from typing import Any, ClassVar

from django.db import migrations, models


def mark_installed(apps: Any, _editor: Any) -> None:
    """Mark a store of an earlier version as installed, so that no set-up applies defaults to it.

    A template has no users, every store has at least its administrator.
    """
    if apps.get_model("auth", "User").objects.exists():
        apps.get_model("storefleet_oscar", "StoreState").objects.create(pk=1)


class Migration(migrations.Migration):
    """The first version of the tables."""

    initial = True
    dependencies: ClassVar = [("auth", "0011_update_proxy_permissions")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="StoreState",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("installed_at", models.DateTimeField(auto_now_add=True)),
                ("domain", models.CharField(blank=True, max_length=300)),
                ("is_open", models.BooleanField(default=True)),
                ("closed_message", models.TextField(blank=True)),
            ],
        ),
        migrations.CreateModel(
            name="OutboxMail",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("sender", models.TextField()),
                ("recipients", models.JSONField()),
                ("subject", models.TextField()),
                ("text", models.TextField(null=True)),
                ("html", models.TextField(null=True)),
                ("is_truncated", models.BooleanField(default=False)),
            ],
        ),
        migrations.RunPython(mark_installed, migrations.RunPython.noop),
    ]
