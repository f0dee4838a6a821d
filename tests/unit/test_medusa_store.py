"""The Medusa store: its JavaScript tests, locks, versions and sample products."""

import importlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from storefleet.engines import catalogue
from tests.support.documents.sources import ROOT
from tests.support.setup.programs import node

STORE_SOURCE = ROOT / "stores" / "medusa"
CHART = ROOT / "charts" / "medusa"
FILES = sorted((STORE_SOURCE / "test").glob("*.test.mjs"))
#: In the order of engine.yaml: the newest version and the previous one.
LOCKS = [STORE_SOURCE, STORE_SOURCE / "previous"]


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_node_tests_pass(file: Path) -> None:
    done = subprocess.run(
        [node(), "--test", file], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"^\D*pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed.group(1)) > 0, done.stdout


@pytest.mark.parametrize("folder", LOCKS)
def test_lock_pins_integrity_without_registry_address(folder: Path) -> None:
    packages = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 100
    for path, about in packages.items():
        assert "resolved" not in about, path
        assert path == "" or re.fullmatch(r"sha512-[A-Za-z0-9+/=]+", about["integrity"]), path
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    pins = {**wanted["dependencies"], **wanted["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins.values()), pins


def test_chart_store_and_engine_have_same_versions() -> None:
    engine = catalogue.load_engines([ROOT / "charts"], runtime="kubernetes").get_offered("medusa")
    for version, folder in zip(engine.versions, LOCKS, strict=True):
        pins = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
        assert (
            version.version
            == pins["@medusajs/medusa"]
            == pins["@medusajs/framework"]
            == pins["@medusajs/cli"]
        )
        assert f"storefleet/medusa:{version.version}" == version.image
    assert f'appVersion: "{engine.default_version}"' in (CHART / "Chart.yaml").read_text(
        encoding="utf-8"
    )
    assert engine.default_version == engine.versions[0].version


def test_sample_products_have_pictures_and_expected_title() -> None:
    goods = (STORE_SOURCE / "src/sample-products.mjs").read_text(encoding="utf-8")
    engine = catalogue.load_engines([ROOT / "charts"], runtime="kubernetes").get_offered("medusa")
    storefront = next(page for page in engine.checks.installed if page.title == "storefront")
    assert f'title: "{storefront.expect}"' in goods
    pictures = {path.stem for path in (STORE_SOURCE / "assets/goods").glob("*.svg")}
    assert pictures >= set(re.findall(r'handle: "([a-z-]+)",\n    title', goods))
    assert pictures >= set(re.findall(r'singleVariant\(\n    "([a-z-]+)"', goods))


def test_values_schema_matches_engine_parameters() -> None:
    engine = catalogue.load_engines([ROOT / "charts"], runtime="kubernetes").get_offered("medusa")
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))["properties"][
        "parameters"
    ]
    for name, rule in engine.parameters["properties"].items():
        assert schema["properties"][name].get("enum") == rule.get("enum"), name


def test_excluded_packages_are_in_lock_and_not_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    medusa = importlib.import_module("tools.images.medusa")
    npm = importlib.import_module("tools.images.npm")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_bytes((STORE_SOURCE / name).read_bytes())
    for path in ("node_modules/pg", "node_modules/react", "node_modules/@medusajs/medusa"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "index.js").write_text("1", encoding="ascii")
    npm.copy_needed_packages(tmp_path, tmp_path / "kept", medusa.EXCLUDED_PACKAGES)
    kept = {str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*.js")}
    assert kept == {"node_modules/pg/index.js", "node_modules/@medusajs/medusa/index.js"}
    with pytest.raises(npm.BuildError, match="no-such-package"):
        npm.copy_needed_packages(tmp_path, tmp_path / "again", ("no-such-package",))
