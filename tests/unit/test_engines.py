"""Descriptors of engines: read, refused, and their parameters completed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from storefleet.engines import EngineError, load
from storefleet.errors import Invalid
from storefleet.settings import PROJECT

GOOD: dict[str, Any] = {
    "name": "shop",
    "title": "Shop",
    "default_version": "1",
    "versions": [{"version": "1"}],
    "parameters": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "title": {"type": "string", "maxLength": 5},
            "size": {"type": "integer", "minimum": 1, "default": 2},
            "nested": {"type": "object", "properties": {"deep": {"type": "array", "items": {"type": "integer"}}}},
        },
    },
    "storefront": {"path": "/", "expect": "x"},
    "admin": {"path": "/a/", "sign_in_path": "/a/l/", "expect": "y", "username": "admin@{host}"},
}


def write(folder: Path, content: object, name: str = "shop") -> Path:
    (folder / name).mkdir(exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / name / "engine.yaml").write_text(text, encoding="utf-8")
    return folder


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    engine = load([write(tmp_path, GOOD)]).get("shop")
    assert engine.complete({}) == {"size": 2}
    assert engine.complete({"size": 3, "title": "x"}) == {"size": 3, "title": "x"}
    assert engine.local is None
    assert engine.folder == tmp_path / "shop"


@pytest.mark.parametrize(
    ("parameters", "pointers"),
    [
        ({"size": 0}, ["/parameters/size"]),
        ({"size": "2"}, ["/parameters/size"]),
        ({"title": "too long"}, ["/parameters/title"]),
        ({"nested": {"deep": [1, "x"]}}, ["/parameters/nested/deep/1"]),
        ({"other": 1}, ["/parameters"]),
        ({"size": 0, "title": 1}, ["/parameters/size", "/parameters/title"]),
    ],
)
def test_broken_rules_have_pointers(tmp_path: Path, parameters: dict[str, Any], pointers: list[str]) -> None:
    engine = load([write(tmp_path, GOOD)]).get("shop")
    with pytest.raises(Invalid) as error:
        engine.complete(parameters)
    assert [pointer for pointer, _detail in error.value.errors] == pointers


def test_what_there_is_not_lists_what_there_is(tmp_path: Path) -> None:
    engines = load([write(tmp_path, GOOD), tmp_path / "nowhere"])
    assert engines.find("other") is None
    with pytest.raises(Invalid) as error:
        engines.get("other")
    assert error.value.errors == (("/engine", "must be one of: shop"),)
    with pytest.raises(Invalid) as none:
        load([]).get("x")
    assert none.value.errors == (("/engine", "must be one of: none"),)


@pytest.mark.parametrize(
    "change",
    [
        *({"name": "Shop"}, {"name": ""}, {"name": "a b"}, {"versions": []}, {"parameters": {"type": "nothing"}}),
        *({"storefront": {}}, {"admin": None}, {"title": None}, {"local": {"source": "."}}),
        {"local": {"source": ".", "template": [], "serve": ["x"]}},
    ],
)
def test_a_broken_descriptor_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=r"engine\.yaml"):
        load([write(tmp_path, {**GOOD, **change})])


PLAN: dict[str, Any] = {
    "title": "Small",
    "quota": {"requests.cpu": 0.5, "pods": 4},
    "jobs": {"pods": 1},
    "storage": {"requests.storage": "1Gi"},
    "limits": {"default": {"cpu": "1"}},
}
KUBERNETES: dict[str, Any] = {
    "versions": [{"version": "1", "image": "shop:1"}],
    "kubernetes": {"secrets": ["database-password"], "default_plan": "small", "plans": {"small": PLAN}},
}


def test_how_it_runs_on_kubernetes(tmp_path: Path) -> None:
    engine = load([write(tmp_path, {**GOOD, **KUBERNETES})], runtime="kubernetes").get("shop")
    assert engine.kubernetes is not None
    assert engine.kubernetes.plan.quota == {"requests.cpu": 0.5, "pods": 4}
    assert engine.kubernetes.egress == "none"
    assert (engine.image("1"), engine.image("2")) == ("shop:1", None)
    assert engine.to_json()["versions"] == [{"version": "1", "notes": ""}]


@pytest.mark.parametrize(
    "change",
    [
        {"versions": GOOD["versions"]},
        *(
            {"kubernetes": {**KUBERNETES["kubernetes"], **each}}
            for each in (
                {"default_plan": "large"},
                {"plans": {}},
                {"egress": "everything"},
                {"secrets": ["A b"]},
                {"plans": {"small": {**PLAN, "quota": "much"}}},
            )
        ),
    ],
)
def test_a_broken_section_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=r"engine\.yaml"):
        load([write(tmp_path, {**GOOD, **KUBERNETES, **change})])


def test_new_stores_have_only_engines_that_run_here(tmp_path: Path) -> None:
    local = {"source": ".", "template": ["x"], "serve": ["x"]}
    write(tmp_path, {**GOOD, "name": "here", "local": local}, "here")
    write(tmp_path, {**GOOD, **KUBERNETES, "name": "there"}, "there")
    for runtime, names in (("local", ["here"]), ("kubernetes", ["there"]), ("simulated", ["here", "there"])):
        engines = load([tmp_path], runtime=runtime)
        assert [engine.name for engine in engines] == names
    assert load([tmp_path], runtime="local").find("there") is not None, "stores that are there already have theirs"
    with pytest.raises(Invalid, match="does not run here") as error:
        load([tmp_path], runtime="local").get("there")
    assert error.value.errors == (("/engine", "must be one of: here"),)


@pytest.mark.parametrize("text", ["", "[]", ": :", "\t", "a: {", "x"])
def test_what_is_no_descriptor_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(EngineError, match=r"engine\.yaml"):
        load([write(tmp_path, text)])


def test_every_engine_of_ours_can_be_read() -> None:
    engines = list(load([PROJECT / "charts", PROJECT / "tests" / "engines", PROJECT / "tests" / "support" / "engines"]))
    assert {"oscar", "tiny", "shop"} <= {engine.name for engine in engines}
    for engine in engines:
        assert engine.default_version in {version.version for version in engine.versions}
        assert engine.complete({}) is not None
        assert engine.parameters["additionalProperties"] is False
        for rule in engine.parameters["properties"].values():
            assert rule["title"]
            assert rule["description"]
