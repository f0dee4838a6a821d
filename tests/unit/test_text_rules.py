"""The rules for titles and names: what is refused, with which sentence, and what survives."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.api.request_models import CreateTenantBody, CreateTokenBody, parse_body
from storefleet.core.errors import InvalidRequest
from storefleet.core.settings import PROJECT_DIR
from storefleet.core.text_rules import find_line_problem, find_text_problem
from storefleet.core.yaml_encoding import encode_for_yaml
from storefleet.engines.catalogue import load_engines
from storefleet.engines.descriptor import Engine
from storefleet.engines.parameters import ParameterSchema
from tests.support.documents.sources import ROOT
from tests.support.texts.samples import HARD_TITLES, REFUSED_TITLES, STORE_TITLE

ENGINES = [
    engine
    for folder in (PROJECT_DIR / "charts", *(ROOT / "tests/fixtures/engines").iterdir())
    for engine in load_engines([folder]).list_known()
    if "title" in engine.parameters["properties"]
]


@pytest.mark.parametrize("title", [*HARD_TITLES, STORE_TITLE])
def test_hard_title_is_valid(title: str) -> None:
    assert find_line_problem(title) is None


@pytest.mark.parametrize(("title", "sentence"), REFUSED_TITLES)
def test_refused_title_has_sentence(title: str, sentence: str) -> None:
    problem = find_line_problem(title)
    assert problem is not None
    assert problem.startswith(sentence)
    assert problem.isprintable(), "the sentence itself must be readable everywhere"


@given(st.text())
def test_valid_text_has_no_character_that_yaml_or_terminals_reject(text: str) -> None:
    if find_text_problem(text) is None:
        assert not set(text) & set("\0\x1b\x7f\x85\u202e\u2066\ufffe\uffff")
    if find_line_problem(text) is None:
        assert 1 <= len(text) <= 240
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_every_engine_has_same_rule_for_titles(engine: Engine) -> None:
    for title in HARD_TITLES:
        assert engine.complete_parameters({"title": title})["title"] == title
    for title, sentence in REFUSED_TITLES:
        with pytest.raises(InvalidRequest) as error:
            engine.complete_parameters({"title": title})
        assert [pointer for pointer, _rule in error.value.errors] == ["/parameters/title"]
        assert error.value.errors[0][1].startswith(sentence)


def test_existing_title_is_kept_when_rules_become_stricter() -> None:
    engine = ENGINES[0]
    assert engine.add_default_parameters({"title": "a\u202eb"})["title"] == "a\u202eb"


def test_text_without_format_must_not_have_control_characters() -> None:
    properties = {"notes": {"type": "string"}, "links": {"type": "array"}}
    schema = ParameterSchema({"type": "object", "properties": properties})
    assert schema.complete({"notes": "two\nlines\t\u2028"}, engine_title="Shop")
    with pytest.raises(InvalidRequest) as error:
        schema.complete({"notes": "a\x1b[2J", "links": ["ok", "a\u202e"]}, engine_title="Shop")
    assert [pointer for pointer, _rule in error.value.errors] == [
        "/parameters/notes",
        "/parameters/links/1",
    ]


@pytest.mark.parametrize("name", ["👩‍🍳 CI", "a\u200cb", "x" * 100, "名前"])
def test_names_of_tokens_and_tenants_may_be_any_visible_text(name: str) -> None:
    assert parse_body(CreateTokenBody, {"name": name}).name == name
    assert parse_body(CreateTenantBody, {"name": f" {name} ", "email": "a@b.c"}).name == name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("\u200b", "must have a visible character: it is blank"),
        ("a\u202eb", "must not have characters that change the writing direction"),
        ("a\x1b[2J", "must be one line without control characters: character 2 is U+001B"),
        ("a\nb", "must be one line without control characters"),
        ("x" * 101, "must have at most 100 characters"),
    ],
)
def test_names_of_tokens_and_tenants_follow_rule_of_titles(name: str, sentence: str) -> None:
    for model, body in ((CreateTokenBody, {}), (CreateTenantBody, {"email": "a@b.c"})):
        with pytest.raises(InvalidRequest) as error:
            parse_body(model, {"name": name, **body})
        assert error.value.errors[0][0] == "/name"
        assert error.value.errors[0][1].startswith(sentence)


@given(st.text())
def test_yaml_encoding_is_json_without_characters_that_yaml_rejects(text: str) -> None:

    encoded = encode_for_yaml({"text": text})
    assert json.loads(encoded) == {"text": text}
    literal = encoded.decode()
    assert not set(literal) & set("\x7f\x80\x85\x9f\u2028\u2029\ufeff\ufffe\uffff")
    assert "\\ud8" not in literal or any("\ud800" <= each <= "\udfff" for each in text)
