"""Engine descriptors: parsing, validation errors, parameter defaults."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from storefleet.core.errors import InvalidRequest
from storefleet.core.settings import PROJECT_DIR
from storefleet.engines.catalogue import load_engines
from storefleet.engines.descriptor import EngineDescriptorError
from storefleet.engines.parameters import explain_violation
from tests.support.documents import engine_guide
from tools import descriptor_schema

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
            "nested": {
                "type": "object",
                "properties": {"deep": {"type": "array", "items": {"type": "integer"}}},
            },
        },
    },
    "storefront": {"path": "/"},
    "admin": {"path": "/a/", "username": "admin@{host}"},
    "checks": {
        "installed": [{"title": "storefront", "path": "/", "expect": "x"}],
        "healthy": [{"title": "database", "path": "/storefleet/health", "expect": "ok"}],
    },
}


def write(folder: Path, content: object, name: str = "shop") -> Path:
    (folder / name).mkdir(exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / name / "engine.yaml").write_text(text, encoding="utf-8")
    return folder


def test_defaults_are_applied(tmp_path: Path) -> None:
    engine = load_engines([write(tmp_path, GOOD)]).get_offered("shop")
    assert engine.complete_parameters({}) == {"size": 2}
    assert engine.complete_parameters({"size": 3, "title": "x"}) == {"size": 3, "title": "x"}
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
def test_validation_errors_have_pointers(
    tmp_path: Path, parameters: dict[str, Any], pointers: list[str]
) -> None:
    engine = load_engines([write(tmp_path, GOOD)]).get_offered("shop")
    with pytest.raises(InvalidRequest) as error:
        engine.complete_parameters(parameters)
    assert [pointer for pointer, _detail in error.value.errors] == pointers


PROPERTIES: dict[str, Any] = {
    "title": {"type": "string", "minLength": 1, "maxLength": 60, "pattern": r"^.*\S.*$"},
    "code": {"type": "string", "minLength": 2, "pattern": "^[a-z]+$"},
    "currency": {"enum": ["USD", "EUR"]},
    "level": {"enum": [1, True, None, "high"]},
    "size": {"type": "integer", "minimum": 1, "maximum": 9},
    "open": {"type": ["boolean", "null"]},
    "sizes": {"type": "array", "items": {"type": "number"}},
    "step": {"type": "number", "multipleOf": 2},
    "owner": {"type": "object", "properties": {"name": {}}, "required": ["name"]},
    "labels": {"patternProperties": {"^x-": {}}, "additionalProperties": False},
    "e-mail": {"type": "string", "format": "email"},
}


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ({"currency": "XYZ"}, "must be one of: USD, EUR"),
        ({"level": "low"}, "must be one of: 1, true, null, high"),
        ({"title": 1}, "must be text"),
        ({"size": "1"}, "must be a whole number"),
        ({"open": 1}, "must be true or false or null"),
        ({"sizes": {}}, "must be a list"),
        ({"sizes": ["x"]}, "must be a number"),
        ({"owner": []}, "must be an object"),
        ({"code": "a"}, "must have at least 2 characters"),
        ({"title": "x" * 61}, "must have at most 60 characters"),
        ({"size": 0}, "must be at least 1"),
        ({"size": 10}, "must be at most 9"),
        ({"title": " "}, "must be one line of text and not blank"),
        ({"code": "A1"}, "must match the pattern ^[a-z]+$"),
        ({"owner": {}}, "'name' is required"),
        ({"colour": "red"}, "“colour” is not a known parameter"),
        ({"a": 1, "b": 2}, "“a”, “b” are not known parameters"),
        ({"e-mail": "none"}, "must have the format “email”"),
        ({"step": 3}, "3 is not a multiple of 2"),
        ({"labels": {"y{}": 1}}, "'y{}' does not match any of the regexes: '^x-'"),
    ],
)
def test_violated_rule_is_explained(parameters: dict[str, Any], rule: str) -> None:
    schema = {"type": "object", "properties": PROPERTIES, "additionalProperties": False}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    assert [explain_violation(error) for error in validator.iter_errors(parameters)] == [rule]


def test_explanation_of_rule_is_short() -> None:
    schema = {"properties": {}, "additionalProperties": False}
    (error,) = Draft202012Validator(schema).iter_errors({"x" * 1000: 1})
    assert len(explain_violation(error)) == 200


def test_empty_title_breaks_both_rules(tmp_path: Path) -> None:
    parameters = {**GOOD["parameters"], "properties": PROPERTIES}
    engine = load_engines([write(tmp_path, {**GOOD, "parameters": parameters})]).get_offered("shop")
    with pytest.raises(InvalidRequest) as error:
        engine.complete_parameters({"title": ""})
    assert error.value.errors == (
        ("/parameters/title", "must have at least 1 character"),
        ("/parameters/title", "must be one line of text and not blank"),
    )


def test_mail_outbox_on_kubernetes_needs_its_key(tmp_path: Path) -> None:
    plan = {
        "title": "S",
        "quota": {"pods": 1},
        "jobs": {"pods": 1},
        "storage": {},
        "limits": {"default": {}, "defaultRequest": {}, "max": {}},
    }
    kubernetes = {"default_plan": "s", "plans": {"s": plan}, "secrets": ["database-password"]}
    content = {
        **GOOD,
        "versions": [{"version": "1", "image": "shop:1"}],
        "mail": {"path": "/storefleet/mail"},
    }
    assert load_engines([write(tmp_path, content)]).get_offered("shop").mail is not None
    write(tmp_path, {**content, "kubernetes": kubernetes})
    with pytest.raises(EngineDescriptorError, match=r"add it to kubernetes\.secrets"):
        load_engines([tmp_path])
    kubernetes["secrets"] = ["database-password", "mail-key"]
    engine = load_engines([write(tmp_path, {**content, "kubernetes": kubernetes})])
    assert engine.get_offered("shop").mail is not None


@pytest.mark.parametrize("path", ["", "mail", "/a b", "/\u00e9", "//evil.example/x"])
def test_mail_path_leaves_the_host_alone(tmp_path: Path, path: str) -> None:
    with pytest.raises(EngineDescriptorError, match="mail"):
        load_engines([write(tmp_path, {**GOOD, "mail": {"path": path}})])


def test_unknown_engine_error_lists_engines(tmp_path: Path) -> None:
    engines = load_engines([write(tmp_path, GOOD), tmp_path / "nowhere"])
    assert engines.find("other") is None
    with pytest.raises(InvalidRequest) as error:
        engines.get_offered("other")
    assert error.value.errors == (("/engine", "must be one of: shop"),)
    with pytest.raises(InvalidRequest) as none:
        load_engines([]).get_offered("x")
    assert none.value.errors == (("/engine", "cannot be chosen: no engine is on offer"),)


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"name": "Shop"},
            {"name": ""},
            {"name": "a b"},
            {"versions": None},
            {"default_version": "2"},
            {"parameters": {"type": "nothing"}},
        ),
        *({"storefront": {}}, {"admin": None}, {"title": None}, {"local": {"source": "."}}),
        {"local": {"source": ".", "template": [], "serve": ["x"]}},
    ],
)
def test_invalid_descriptor_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(EngineDescriptorError, match=r"engine\.yaml"):
        load_engines([write(tmp_path, {**GOOD, **change})])


PLAN: dict[str, Any] = {
    "title": "Small",
    "quota": {"requests.cpu": 0.5, "pods": 4},
    "jobs": {"pods": 1},
    "storage": {"requests.storage": "1Gi"},
    "limits": {"default": {"cpu": "1"}},
}
KUBERNETES: dict[str, Any] = {
    "versions": [{"version": "1", "image": "shop:1"}],
    "kubernetes": {
        "secrets": ["database-password"],
        "default_plan": "small",
        "plans": {"small": PLAN},
    },
}


def test_kubernetes_section_is_read(tmp_path: Path) -> None:
    engine = load_engines(
        [write(tmp_path, {**GOOD, **KUBERNETES})], runtime="kubernetes"
    ).get_offered("shop")
    assert engine.kubernetes is not None
    assert engine.kubernetes.plan.quota == {"requests.cpu": 0.5, "pods": 4}
    assert engine.kubernetes.egress == "none"
    assert (engine.get_image("1"), engine.get_image("2")) == ("shop:1", None)
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
def test_invalid_kubernetes_section_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(EngineDescriptorError, match=r"engine\.yaml"):
        load_engines([write(tmp_path, {**GOOD, **KUBERNETES, **change})])


def test_only_engines_of_runtime_are_offered(tmp_path: Path) -> None:
    local = {"source": ".", "template": ["x"], "serve": ["x"]}
    write(tmp_path, {**GOOD, "name": "here", "local": local}, "here")
    write(tmp_path, {**GOOD, **KUBERNETES, "name": "there"}, "there")
    for runtime, names in (
        ("local", ["here"]),
        ("kubernetes", ["there"]),
        ("simulated", ["here", "there"]),
    ):
        engines = load_engines([tmp_path], runtime=runtime)
        assert [engine.name for engine in engines] == names
    assert load_engines([tmp_path], runtime="local").find("there") is not None, (
        "stores that are there already have theirs"
    )
    with pytest.raises(InvalidRequest, match="does not run here") as error:
        load_engines([tmp_path], runtime="local").get_offered("there")
    assert error.value.errors == (("/engine", "must be one of: here"),)


def catalogue(folder: Path, content: object) -> Path:
    path = folder / "catalogue.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_catalogue_adds_and_overrides_versions(tmp_path: Path) -> None:
    own = {
        "versions": [
            {"version": "1", "image": "shop:1", "notes": "Ours."},
            {"version": "9", "image": "shop:9"},
        ]
    }
    write(tmp_path, {**GOOD, **KUBERNETES, **own})
    built = [
        {"version": "1", "image": "shop:1-built", "notes": "Built."},
        {"version": "2", "image": "shop:2"},
    ]
    path = catalogue(
        tmp_path,
        {"shop": {"default_version": "2", "versions": built}, "unheard-of": {"versions": []}},
    )
    engine = load_engines([tmp_path], runtime="kubernetes", catalogue_file=path).get_offered("shop")
    assert [(each.version, each.image, each.notes) for each in engine.versions] == [
        *(("1", "shop:1-built", "Built."), ("9", "shop:9", "")),
        ("2", "shop:2", ""),
    ]
    assert engine.default_version == "2"
    assert (
        load_engines([tmp_path], runtime="kubernetes").get_offered("shop").default_version == "1"
    ), "without a catalogue as it is"


def test_engine_without_version_is_not_offered(tmp_path: Path) -> None:
    bare = {key: value for key, value in GOOD.items() if key != "default_version"}
    write(tmp_path, {**bare, **KUBERNETES, "versions": []})
    engines = load_engines([tmp_path], runtime="kubernetes")
    assert list(engines) == []
    assert engines.find("shop") is not None
    with pytest.raises(InvalidRequest, match="it has no versions"):
        engines.get_offered("shop")
    path = catalogue(
        tmp_path,
        {
            "shop": {
                "versions": [{"version": "3", "image": "x:3"}, {"version": "4", "image": "x:4"}]
            }
        },
    )
    engine = load_engines([tmp_path], runtime="kubernetes", catalogue_file=path).get_offered("shop")
    assert engine.default_version == "3"
    assert engine.choose_version(None) == "3"


def test_engine_without_image_is_not_offered(
    tmp_path: Path,
) -> None:
    write(tmp_path, {**GOOD, **KUBERNETES})
    path = catalogue(tmp_path, {})
    engines = load_engines([tmp_path], runtime="kubernetes", catalogue_file=path)
    assert list(engines) == []
    assert engines.find("shop") is not None, "stores that are there already have theirs"
    with pytest.raises(InvalidRequest, match="its image was not built"):
        engines.get_offered("shop")
    with pytest.raises(InvalidRequest, match="No engine is on offer"):
        engines.get_offered(engines.get_default_name(""))
    assert [each.name for each in load_engines([tmp_path], catalogue_file=path)] == ["shop"]


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "{",
            "[]",
            {"shop": []},
            {"shop": {"versions": [{"image": "x"}]}},
            {"shop": {"versions": "1"}},
        ),
        *(
            {"shop": {"default_version": "7", "versions": []}},
            {"shop": {"versions": [{"version": "5"}]}},
        ),
    ],
)
def test_invalid_catalogue_is_named(tmp_path: Path, content: object) -> None:
    write(tmp_path, {**GOOD, **KUBERNETES})
    with pytest.raises(EngineDescriptorError, match=r"catalogue\.json|engine\.yaml"):
        load_engines([tmp_path], runtime="kubernetes", catalogue_file=catalogue(tmp_path, content))
    with pytest.raises(EngineDescriptorError, match="nowhere"):
        load_engines([tmp_path], catalogue_file=tmp_path / "nowhere")


def test_default_engine_is_selected(tmp_path: Path) -> None:
    write(tmp_path, {**GOOD, "name": "aaa"}, "aaa")
    assert load_engines([tmp_path]).get_default_name("") == "aaa"
    write(tmp_path, {**GOOD, "name": "oscar"}, "oscar")
    assert load_engines([tmp_path]).get_default_name("") == "oscar"
    write(tmp_path, {**GOOD, "name": "woocommerce"}, "woocommerce")
    assert load_engines([tmp_path]).get_default_name("") == "woocommerce"
    assert load_engines([tmp_path]).get_default_name("aaa") == "aaa"
    assert load_engines([]).get_default_name("") == ""


def test_versions_and_stores_have_charts_and_plans(tmp_path: Path) -> None:
    versions = [
        {"version": "1", "image": "shop:1"},
        {"version": "2", "image": "shop:2", "chart": "next"},
    ]
    plans = {
        "small": PLAN,
        "large": {**PLAN, "title": "Large", "quota": {"limits.cpu": 4, "limits.memory": "1Gi"}},
    }
    section = {**KUBERNETES["kubernetes"], "plans": plans, "cron": {"path": "/cron", "every": 30}}
    write(
        tmp_path,
        {
            **GOOD,
            "versions": versions,
            "kubernetes": section,
        },
    )
    engine = load_engines([tmp_path], runtime="kubernetes").get_offered("shop")
    assert engine.get_chart_path("1") == engine.get_chart_path("unknown") == engine.folder.resolve()
    assert engine.get_chart_path("2") == (engine.folder / "next").resolve()
    assert engine.kubernetes is not None
    assert engine.kubernetes.cron is not None
    assert engine.kubernetes.cron.every == 30
    found = [engine.get_plan(name) for name in ("large", "", "gone")]
    assert [plan.title for plan in found if plan] == ["Large", "Small", "Small"]
    shown = engine.to_json()
    assert shown["versions"] == [{"version": "1", "notes": ""}, {"version": "2", "notes": ""}]
    assert {
        plan["name"]: (plan["title"], plan["default"], plan["summary"]) for plan in shown["plans"]
    } == {
        "small": ("Small", True, {"cpu": "", "memory": "", "storage": "1Gi"}),
        "large": ("Large", False, {"cpu": "4", "memory": "1Gi", "storage": "1Gi"}),
    }
    with pytest.raises(InvalidRequest) as error:
        engine.choose_plan("huge")
    assert error.value.errors == (("/plan", "must be one of: large, small"),)
    unlimited = load_engines([tmp_path], runtime="local").find("shop")
    assert unlimited is not None
    with pytest.raises(InvalidRequest) as none:
        unlimited.choose_plan("small")
    assert none.value.errors == (("/plan", "cannot be chosen: Shop has no plans here"),)
    assert (
        unlimited.to_json()["plans"],
        unlimited.choose_plan(None),
        unlimited.get_plan("small"),
    ) == (
        [],
        "",
        None,
    )


def test_duplicate_version_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(EngineDescriptorError, match="twice"):
        load_engines([write(tmp_path, {**GOOD, "versions": [{"version": "1"}, {"version": "1"}]})])


def test_local_store_requires_installed_version(tmp_path: Path) -> None:
    folder = write(
        tmp_path, {**GOOD, "default_version": "2", "versions": [{"version": "3"}, {"version": "2"}]}
    )
    engine = load_engines([folder], runtime="local").find("shop")
    assert engine is not None
    assert [version.version for version in engine.versions] == ["2"]
    assert engine.complete_parameters({}) == {"size": 2}
    with pytest.raises(InvalidRequest, match="version"):
        engine.choose_version("3")


@pytest.mark.parametrize("text", ["", "[]", ": :", "\t", "a: {", "x"])
def test_non_descriptor_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(EngineDescriptorError, match=r"engine\.yaml"):
        load_engines([write(tmp_path, text)])


def test_shipped_engines_are_readable() -> None:
    engines = list(
        load_engines(
            [
                PROJECT_DIR / "charts",
                PROJECT_DIR / "tests" / "fixtures" / "engines" / "local",
                PROJECT_DIR / "tests" / "fixtures" / "engines" / "simulated",
            ]
        )
    )
    assert {"oscar", "tiny", "shop"} <= {engine.name for engine in engines}
    for engine in engines:
        assert engine.default_version in {version.version for version in engine.versions}
        assert engine.complete_parameters({}) is not None
        assert engine.parameters["additionalProperties"] is False
        for rule in engine.parameters["properties"].values():
            assert rule["title"]
            assert rule["description"]


def test_descriptor_of_earlier_format_checks_new_stores_only(tmp_path: Path) -> None:
    earlier = {
        **GOOD,
        "storefront": {"path": "/shop/", "expect": "mug"},
        "admin": {**GOOD["admin"], "sign_in_path": "/login", "expect": "Sign in"},
        "checks": [{"path": "/api", "expect": "[]"}],
    }
    checks = load_engines([write(tmp_path, earlier)]).get_offered("shop").checks
    assert [(page.label, page.path, page.expect) for page in checks.installed] == [
        ("storefront", "/shop/", "mug"),
        ("admin sign-in", "/login", "Sign in"),
        ("page /api", "/api", "[]"),
    ]
    assert checks.healthy == ()
    mixed = load_engines([write(tmp_path, {**earlier, "checks": GOOD["checks"]})])
    checks = mixed.get_offered("shop").checks
    assert [page.expect for page in checks.installed] == ["mug", "Sign in", "x"]
    assert [page.expect for page in checks.healthy] == ["ok"]


@pytest.mark.parametrize(
    "checks",
    [
        "all",
        {"healthy": [{"path": "health", "expect": "ok"}]},
        {"healthy": [{"path": "/health", "expect": ""}]},
        {"installed": [{"path": "/health\nHost: other", "expect": "x"}]},
    ],
)
def test_invalid_check_is_rejected(tmp_path: Path, checks: object) -> None:
    with pytest.raises(EngineDescriptorError, match="checks"):
        load_engines([write(tmp_path, {**GOOD, "checks": checks})])


def test_schema_file_matches_model() -> None:
    text = descriptor_schema.SCHEMA_FILE.read_text(encoding="utf-8")
    assert text == descriptor_schema.format_schema(), "run `python -m tools.descriptor_schema`"


def test_schema_accepts_all_descriptors_and_rejects_broken_checks() -> None:
    validator = Draft202012Validator(descriptor_schema.make_schema())
    texts = [
        path.read_text(encoding="utf-8")
        for folder in (PROJECT_DIR / "charts", PROJECT_DIR / "tests/fixtures/engines")
        for path in folder.rglob("engine.yaml")
    ]
    texts.append(engine_guide.read_files()["charts/kiosk/engine.yaml"])
    assert len(texts) >= 8
    for text in texts:
        validator.validate(yaml.safe_load(text))
    for broken in ({"healthy": [{"path": "/x"}]}, {"healthy": {}}, []):
        assert not validator.is_valid({**GOOD, "checks": broken})


def test_store_checks_leave_owner_content_to_creation() -> None:
    """`healthy` is asked again at every change, so it must not name what an owner can change."""
    for engine in load_engines([PROJECT_DIR / "charts"], runtime="kubernetes").list_known():
        assert engine.checks.healthy, engine.name
        for page in engine.checks.healthy:
            assert page.path.startswith("/storefleet/") or page.path == "/readyz", page.path
