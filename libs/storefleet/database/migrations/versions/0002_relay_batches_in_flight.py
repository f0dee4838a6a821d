"""Let the relay take a batch while it still publishes the batches before it."""

from storefleet.database.migrations.sql_files import reject_downgrade, run_sql_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file beside this module."""
    run_sql_file(__file__)


def downgrade() -> None:
    """Reject the downgrade: migrations only go forward."""
    reject_downgrade()
