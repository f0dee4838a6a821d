"""Add the baseline of version changes (column `operations.baseline`)."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the statements of the SQL file beside this module."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    for statement in script.split("\n--;\n"):
        op.execute(statement)


def downgrade() -> None:
    """Reject the downgrade: migrations only go forward."""
    raise RuntimeError("Migrations cannot be undone; restore a backup instead.")
