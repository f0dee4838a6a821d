"""SQL statements with named parameters."""

from pathlib import Path

import pytest

from storefleet import database
from storefleet.database.statements import Statement, load_statement

_FOLDER = Path(database.__file__).parent / "sql"


def test_repeated_name_has_one_parameter_number() -> None:
    statement = Statement("SELECT :a, :b::text, now() - :a::interval FROM stores")
    assert statement.text == "SELECT $1, $2::text, now() - $1::interval FROM stores"
    assert statement.bind(b=2, a=1) == (statement.text, 1, 2)


def test_comments_and_casts_are_not_parameters() -> None:
    statement = Statement("-- Finds :nothing.\nSELECT 1::bigint\n  -- nor :this\n")
    assert statement.bind() == ("SELECT 1::bigint",)


@pytest.mark.parametrize("values", [{}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_mismatched_values_are_rejected(values: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="do not match the statement's parameters"):
        Statement("SELECT :a, :b").bind(**values)


@pytest.mark.parametrize("path", sorted(_FOLDER.glob("*.sql")), ids=lambda path: path.stem)
def test_every_file_has_one_described_statement(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("-- ")
    text = load_statement(path.stem).text
    assert text.split()[0] in {"SELECT", "WITH", "INSERT", "UPDATE", "DELETE"}
    assert ";" not in text
