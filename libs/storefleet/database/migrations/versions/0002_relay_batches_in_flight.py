"""Let the relay take a batch while it still publishes the batches before it."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file beside this module."""
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Reject the downgrade: migrations only go forward."""
    raise RuntimeError("Migrations cannot be undone; restore a backup instead.")
