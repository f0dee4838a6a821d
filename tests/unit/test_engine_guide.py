"""The engine that docs/engines.md adds: all files are shown, and Helm renders its chart."""

import re
from pathlib import Path

import yaml

from storefleet.core.settings import Settings
from storefleet.engines import catalogue
from storefleet.runtimes.kubernetes import manifests
from tests.support.cluster.charts import render_objects
from tests.support.cluster.samples import a_store
from tests.support.documents import engine_guide


def test_guide_shows_all_listed_files() -> None:
    shown = engine_guide.read_files()
    assert {Path(name).name for name in shown} >= {
        "engine.yaml",
        "Chart.yaml",
        "values.yaml",
        "Dockerfile",
        "kiosk",
    }
    assert {name for name in shown if "/templates/" in name} == {
        f"charts/kiosk/templates/{name}"
        for name in ("_pod.tpl", "web.yaml", "setup.yaml", "tasks.yaml")
    }


def test_guide_chart_renders_required_objects(tmp_path: Path) -> None:
    engine = catalogue.load_engines(
        [engine_guide.write_files(tmp_path)], runtime="kubernetes"
    ).get_offered("kiosk")
    settings = Settings(runtime="kubernetes")
    store = a_store().copy_with(engine="kiosk", engine_version="1.0.0", parameters={}, plan="small")
    values = manifests.make_chart_values(
        store, engine, manifests.locate_store(store, settings), settings
    )
    objects = render_objects(
        tmp_path / "charts" / "kiosk", values=values, release="store", namespace="st-a"
    )
    kinds = sorted(f"{each['kind']} {each['metadata']['name']}" for each in objects)
    assert [re.sub(r"setup-[0-9a-f]{8}", "setup", kind) for kind in kinds] == [
        *("CronJob dump", "CronJob orders", "CronJob restore", "Deployment web", "Job setup"),
        *("PersistentVolumeClaim backups", "PersistentVolumeClaim data", "Service web"),
    ]
    text = yaml.safe_dump_all(objects)
    assert text.count("storefleet.dev/store: sto_0123456789abcdef") >= len(objects)
    assert "null" not in text
