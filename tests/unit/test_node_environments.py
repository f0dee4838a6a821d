"""Engine environments are built once per content."""

from pathlib import Path

import pytest

from storefleet.engines import catalogue
from storefleet.engines.descriptor import Engine
from storefleet.node.node_error import NodeError
from storefleet.node.stores import environments
from storefleet.runtimes.local.file_layout import FileLayout

DESCRIPTOR = """
name: my-shop
title: Mine
default_version: "1"
versions: [{version: "1"}]
parameters: {type: object}
storefront: {path: /}
admin: {path: /, username: x}
local:
  source: .
  template: ["{python}", "-m", "mine", "template"]
  serve: ["{python}", "-m", "mine"]
"""


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    folder = tmp_path / "engines" / "my-shop"
    (folder / "src" / "mine").mkdir(parents=True)
    (folder / "src" / "mine" / "__main__.py").write_text("print('hello')\n")
    (folder / "engine.yaml").write_text(DESCRIPTOR)
    return catalogue.load_engines([tmp_path / "engines"]).get_offered("my-shop")


async def test_environment_is_built_once_and_rebuilt_after_interruption(
    engine: Engine, tmp_path: Path
) -> None:
    found = environments.locate_environment(engine, "1", engines_dir=tmp_path / "state")
    more = {
        "records_dir": tmp_path,
        "log_file": tmp_path / "log",
        "account": None,
        "report_progress": lambda _text: None,
    }
    await environments.build_environment(engine, found, **more)  # type: ignore[arg-type]
    source = found.source_dir / "mine" / "__main__.py"
    assert source.read_text() == "print('hello')\n"
    source.write_text("kept")
    await environments.build_environment(engine, found, **more)  # type: ignore[arg-type]
    assert source.read_text() == "kept"
    (found.folder / "environment.json").unlink()  # it is written last
    await environments.build_environment(engine, found, **more)  # type: ignore[arg-type]
    assert source.read_text() == "print('hello')\n"


def test_changed_source_is_another_environment(engine: Engine, tmp_path: Path) -> None:
    first = environments.locate_environment(engine, "1", engines_dir=tmp_path)
    assert environments.locate_environment(engine, "1", engines_dir=tmp_path) == first
    (engine.folder / "src" / "mine" / "__pycache__").mkdir()
    (engine.folder / "src" / "mine" / "__pycache__" / "x.pyc").write_text("")
    assert environments.locate_environment(engine, "1", engines_dir=tmp_path) == first
    (engine.folder / "src" / "mine" / "new.py").write_text("")
    second = environments.locate_environment(engine, "1", engines_dir=tmp_path)
    assert second.folder != first.folder
    for made in (first, second):
        made.folder.mkdir(parents=True)
    assert environments.list_outdated_folders(second) == [first.folder]


def test_environment_fills_names_commands_and_variables(engine: Engine, tmp_path: Path) -> None:
    found = environments.locate_environment(engine, "1", engines_dir=tmp_path)
    assert found.template_name == f"tpl_my_shop_{found.content_hash}"
    assert engine.local is not None
    assert found.make_command(engine.local.serve) == (str(found.python), "-m", "mine")
    assert found.make_variables(STORE_ID="x")["PYTHONPATH"] == str(found.source_dir)


def test_published_template_is_found_by_runtime(engine: Engine, tmp_path: Path) -> None:
    places = FileLayout(tmp_path)
    found = environments.locate_environment(engine, "1", engines_dir=places.engines_dir)
    assert places.read_template("my-shop", "1") is None
    found.folder.mkdir(parents=True)
    environments.publish_template(found, file_layout=places)
    template = places.read_template("my-shop", "1")
    assert template is not None
    assert (template.database, template.role) == (found.template_name, found.template_name)
    assert template.files == found.template_files_dir


def test_engine_without_source_is_rejected(engine: Engine, tmp_path: Path) -> None:
    (engine.folder / "src").rename(engine.folder / "gone")
    with pytest.raises(NodeError, match=r"no source folder"):
        environments.locate_environment(engine, "1", engines_dir=tmp_path)
