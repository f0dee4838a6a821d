"""The OpenAPI document matches routes, bodies and error codes in the source."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args
from unittest.mock import MagicMock

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import ValidationError

from services.gateway.api import openapi
from services.gateway.api.request_models import (
    CreateStoreBody,
    CreateTenantBody,
    CreateTokenBody,
    RequestBody,
    RollBackStoreBody,
    UpgradeStoreBody,
)
from services.gateway.api.routes import Api
from storefleet.core import lifecycle, messages, models, observed
from storefleet.core.settings import Settings
from storefleet.core.store_names import find_name_problem
from tests.support.documents.sources import collect_error_codes

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
BODIES: dict[str, type[RequestBody]] = {
    "createStore": CreateStoreBody,
    "upgradeStore": UpgradeStoreBody,
    "rollBackStore": RollBackStoreBody,
    "createTenant": CreateTenantBody,
    "createToken": CreateTokenBody,
}
#: Codes of pages and services outside this document; see docs/operations.md.
ELSEWHERE = {
    "wrong_sign_in",
    "sign_in_paused",
    "too_many_sockets",
    "websocket_only",
    "messaging_unavailable",
    "runtime_unavailable",
    # defaults of the base classes; raised errors have a more specific code
    "forbidden",
    "conflict",
    "rate_limited",
    "unavailable",
}


@cache
def document() -> dict[str, Any]:
    """Return the document as served: JSON without dates and anchors."""
    content: dict[str, Any] = json.loads(json.dumps(openapi.load_document()))
    return content


def resolved(node: Any) -> Any:
    """Return the node or the target of its $ref; raise KeyError for a broken $ref."""
    while isinstance(node, dict) and "$ref" in node:
        target = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def nodes(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, node
    children = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, child in children:
        yield from nodes(child, (*path, str(key)))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for method in METHODS:
            if method in item:
                shared = item.get("parameters", [])
                yield (
                    method,
                    path,
                    {**item[method], "parameters": [*shared, *item[method].get("parameters", [])]},
                )


def validator(schema: Any) -> Draft202012Validator:
    """Build a validator for a schema whose references lead into the document."""
    return Draft202012Validator(
        {**document(), **schema}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def described_codes() -> set[str]:
    return set(document()["components"]["schemas"]["Problem"]["properties"]["code"]["examples"])


def test_version_is_3_1_and_references_resolve() -> None:
    assert document()["openapi"].startswith("3.1.")
    references = [
        node for _, node in nodes(document()) if isinstance(node, dict) and "$ref" in node
    ]
    assert references
    for reference in references:
        assert resolved(reference) is not None


def test_examples_contain_no_references() -> None:
    for path, node in nodes(document()):
        if path and path[-1] in ("example", "value"):
            assert "$ref" not in json.dumps(node), path


def test_schemas_are_valid() -> None:
    schemas = [(path, node) for path, node in nodes(document()) if path and path[-1] == "schema"]
    schemas += [((name,), schema) for name, schema in document()["components"]["schemas"].items()]
    assert len(schemas) > 50
    for _, schema in schemas:
        Draft202012Validator.check_schema(schema)


def test_components_are_used() -> None:
    used = {
        node["$ref"] for _, node in nodes(document()) if isinstance(node, dict) and "$ref" in node
    }
    anchors = {
        "RequestedStore",
        "QueuedOperation",
        "ReadyEvent",
        "Token",
        "DeadLetter",
    }  # used by YAML anchor
    for kind in ("schemas", "responses", "parameters", "headers", "examples"):
        for name in document()["components"][kind]:
            assert f"#/components/{kind}/{name}" in used or (
                kind == "examples" and name in anchors
            ), name


def test_operations_are_complete() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in document()["tags"]}
    for _, path, operation in operations():
        assert operation["summary"]
        assert set(operation["tags"]) <= tags
        declared = {p["name"] for p in map(resolved, operation["parameters"]) if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path)), path
        for status, response in operation["responses"].items():
            assert status == "default" or re.fullmatch(r"[1-5]\d\d", status)
            assert resolved(response)["description"]


def test_security_names_known_schemes_and_scopes() -> None:
    schemes = document()["components"]["securitySchemes"]
    scopes = set(models.Scope.__args__)  # type: ignore[attr-defined]
    for method, path, operation in operations():
        for requirement in operation.get("security", document()["security"]):
            assert set(requirement) <= set(schemes)
            assert set(requirement.get("bearer", [])) <= scopes
            if "session" in requirement:
                assert ("csrf" in requirement) == (method not in ("get", "head")), path


def media_types() -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for path, node in nodes(document()):
        if (
            isinstance(node, dict)
            and "schema" in node
            and ("example" in node or "examples" in node)
        ):
            yield path, node


def examples_of(media: dict[str, Any]) -> list[Any]:
    return [
        *([media["example"]] if "example" in media else []),
        *(resolved(each)["value"] for each in media.get("examples", {}).values()),
    ]


def test_examples_match_schemas() -> None:
    checked = 0
    for path, media in media_types():
        for example in examples_of(media):
            error = best_match(validator(media["schema"]).iter_errors(example))
            assert error is None, f"{path}: {error.message if error else ''}"
            checked += 1
    assert checked > 40


def test_success_bodies_have_examples() -> None:
    without = {"getDescription", "cancelOperation", "getDeadLetter", "replayDeadLetter"}
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            for media in resolved(response).get("content", {}).values():
                if status.startswith("2") and operation["operationId"] not in without:
                    assert examples_of(media), operation["operationId"]


def test_routes_and_descriptions_match() -> None:
    parts = (
        "database",
        "admission",
        "version_admission",
        "tokens",
        "authenticator",
        "engines",
        "runtime",
        "lookup",
        "mails",
    )
    api = Api(settings=Settings(), **{name: MagicMock() for name in parts})
    routes = {(route.method.lower(), route.path) for route in api.routes()}
    assert routes == {(method, path) for method, path, _ in operations()}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("StoreState", lifecycle.StoreState),
        ("OperationKind", lifecycle.OperationKind),
        ("OperationState", lifecycle.OperationState),
        ("StepState", lifecycle.StepState),
        ("StorefrontClass", observed.StorefrontClass),
        ("CronState", observed.CronState),
        ("Scope", get_args(models.Scope)),
    ],
)
def test_enumerations_match_models(schema: str, words: Any) -> None:
    assert tuple(document()["components"]["schemas"][schema]["enum"]) == tuple(words)


def test_event_types_match_lifecycle() -> None:
    assert set(document()["components"]["schemas"]["EventType"]["enum"]) == set(
        lifecycle.StoreEvent
    )
    assert messages.make_event_subject("ten_a", "sto_b", "store.ready").endswith(
        ".ten_a.sto_b.ready"
    )


@pytest.mark.parametrize("operation_id", BODIES)
def test_body_fields_match_models(operation_id: str) -> None:
    operation = next(op for _, _, op in operations() if op["operationId"] == operation_id)
    schema = resolved(operation["requestBody"]["content"]["application/json"]["schema"])
    fields = BODIES[operation_id].model_fields
    assert set(schema["properties"]) == set(fields)
    assert set(schema["required"]) == {
        name for name, field in fields.items() if field.is_required()
    }


@pytest.mark.parametrize(
    ("operation_id", "body"),
    [
        ("createStore", {"name": "acme", "colour": "red"}),
        ("createStore", {"engine": "oscar"}),
        ("createStore", {"name": 4}),
        ("createStore", {"name": "acme", "engine": "e" * 41}),
        ("createStore", {"name": "acme", "parameters": []}),
        ("createStore", {"name": "acme", "version": ""}),
        ("createStore", {"name": "acme", "plan": 3}),
        ("upgradeStore", {}),
        ("upgradeStore", {"version": None}),
        ("upgradeStore", {"version": "1" * 61}),
        ("upgradeStore", {"version": "1", "force": True}),
        ("rollBackStore", {"restore": "yes"}),
        ("rollBackStore", {"version": "1"}),
        ("createTenant", {"name": "", "email": "a@b.example"}),
        ("createTenant", {"name": "Acme"}),
        ("createToken", {"name": "ci", "scopes": []}),
        ("createToken", {"name": "ci", "scopes": ["everything"]}),
        ("createToken", {"name": "ci", "expires_in_days": 0}),
        ("createToken", {"name": "ci", "expires_in_days": 367}),
        ("createToken", {"name": "ci", "expires_in_days": "9"}),
    ],
)
def test_schemas_reject_what_models_reject(operation_id: str, body: dict[str, Any]) -> None:
    operation = next(op for _, _, op in operations() if op["operationId"] == operation_id)
    assert list(
        validator(operation["requestBody"]["content"]["application/json"]["schema"]).iter_errors(
            body
        )
    )
    with pytest.raises(ValidationError):
        BODIES[operation_id].model_validate(body)


@pytest.mark.parametrize(
    "name", ["abc", "a-1", "a" * 40, "ab", "a" * 41, "-ab", "ab-", "Abc", "a_b", "", "shop.one"]
)
def test_name_pattern_matches_admission(name: str) -> None:
    pattern = document()["components"]["schemas"]["NewStore"]["properties"]["name"]["pattern"]
    assert bool(re.search(pattern, name)) == (find_name_problem(name) is None)


def test_gateway_problems_have_examples() -> None:
    shared = (
        f"libs/storefleet/{module}.py"
        for module in (
            "auth/sessions",
            "auth/tenants",
            "auth/tokens",
            "auth/authentication",
            "admission/stores",
            "admission/versions",
            "core/errors",
            "http/app",
            "http/problems",
            "http/validation",
            "admission/creation",
        )
    )
    assert collect_error_codes("services", *shared) - ELSEWHERE - described_codes() == set()
    shown = {
        example["code"]
        for _, media in media_types()
        for example in examples_of(media)
        if is_problem(example)
    }
    assert shown == described_codes()


def is_problem(example: Any) -> bool:
    return isinstance(example, dict) and str(example.get("type", "")).startswith(
        "urn:storefleet:problem:"
    )
