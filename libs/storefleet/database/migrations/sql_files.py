"""Run the SQL file of a migration: the file beside the module, with the same name."""

from pathlib import Path

from alembic import op

_STATEMENT_SEPARATOR = "\n--;\n"


def run_sql_file(migration: str) -> None:
    """Run the statements of a migration's SQL file in Alembic's transaction.

    Args:
        migration: The path of the migration's module (`__file__`). Statements in the file are
            separated by a line `--;`.
    """
    script = Path(migration).with_suffix(".sql").read_text(encoding="utf-8")
    for statement in script.split(_STATEMENT_SEPARATOR):
        op.execute(statement)


def reject_downgrade() -> None:
    """Reject a downgrade.

    Raises:
        RuntimeError: Always: migrations only go forward.
    """
    raise RuntimeError("Migrations cannot be undone; restore a backup instead.")
