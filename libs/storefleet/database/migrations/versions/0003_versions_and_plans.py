"""Add plans of stores, and the operations that change versions."""

from storefleet.database.migrations.sql_files import reject_downgrade, run_sql_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file beside this module."""
    run_sql_file(__file__)


def downgrade() -> None:
    """Reject the downgrade: migrations only go forward."""
    reject_downgrade()
