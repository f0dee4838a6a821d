"""SQL statements in files, with named parameters.

Every file in `sql/` contains one statement. Its parameters are written `:store_id`; PostgreSQL gets
them as `$1`, `$2`, … in the order of their first use. The notation is that of aiosql and
procrastinate. Files are read once, when the module that uses them is imported.
"""

import re
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "sql"
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_PARAMETER = re.compile(r"(?<!:):([a-z][a-z0-9_]*)")  # `::text` is a cast, not a parameter


class Statement:
    """One SQL statement with named parameters; the same name is always the same value."""

    def __init__(self, sql: str) -> None:
        """Translate the parameters.

        Args:
            sql: The statement with `:name` parameters. Lines that are comments are left out.
        """
        statement = _COMMENT.sub("", sql).strip()
        self._names = tuple(dict.fromkeys(_PARAMETER.findall(statement)))
        numbers = {name: f"${number}" for number, name in enumerate(self._names, start=1)}
        self.text = _PARAMETER.sub(lambda match: numbers[match[1]], statement)

    def bind(self, **values: Any) -> tuple[Any, ...]:
        """Return the statement's text and its arguments, for `await connection.fetch(*…)`.

        Raises:
            TypeError: A parameter has no value, or a value has no parameter.
        """
        if values.keys() != set(self._names):
            differing = ", ".join(sorted(values.keys() ^ set(self._names)))
            raise TypeError(f"The values do not match the statement's parameters: {differing}.")
        return (self.text, *(values[name] for name in self._names))


def load_statement(name: str) -> Statement:
    """Load `sql/<name>.sql`."""
    return Statement((_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
