"""Image archives follow the specification, are reproducible, and are written atomically."""

import gzip
import hashlib
import json
import os
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tools.images import wheels
from tools.images.cache import CacheKey, LayerCache
from tools.images.errors import BuildError
from tools.images.main import is_archive_current
from tools.images.oci import (
    MTIME,
    Image,
    Layer,
    open_atomically,
    pack_layer,
    unpack_layers,
    write_archive,
)
from tools.images.programs import run_program


def fill(folder: Path, *, text: str = "hello", mtime: float = 1_000_000_000) -> Path:
    (folder / "opt/app").mkdir(parents=True)
    (folder / "opt/app/run").write_text(text, encoding="utf-8")
    (folder / "opt/app/run").chmod(0o755)
    (folder / "opt/app/link").symlink_to("run")
    os.mkfifo(folder / "opt/app/pipe")
    for path in (folder / "opt/app/run", folder / "opt/app", folder / "opt"):
        os.utime(path, (mtime, mtime))
    return folder


def image_of(*layers: Layer) -> Image:
    return Image(
        reference="docker.io/storefleet/test:1.2",
        layers=layers,
        entrypoint=("/init", "--"),
        command=("serve",),
        user="10001:10001",
        working_directory="/work",
        environment={"B": "2", "A": "1"},
        labels={"title": "Test"},
    )


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry))}


def test_write_archive_result_is_valid_oci_layout(tmp_path: Path) -> None:
    layers = [
        pack_layer(fill(tmp_path / name, text=name), name=name, target=tmp_path / f"{name}.tar.gz")
        for name in "ab"
    ]
    write_archive(image_of(*layers), tmp_path / "out" / "test.oci.tar")
    content = read(tmp_path / "out" / "test.oci.tar")
    assert json.loads(content.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(content.pop("index.json"))
    for name, blob in content.items():
        assert name == f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"

    def fetch(descriptor: dict[str, object]) -> bytes:
        blob = content[f"blobs/sha256/{str(descriptor['digest']).removeprefix('sha256:')}"]
        assert len(blob) == descriptor["size"]
        return blob

    (entry,) = index["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/storefleet/test:1.2"
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1.2"
    manifest = json.loads(fetch(entry))
    assert manifest["schemaVersion"] == 2
    config = json.loads(fetch(manifest["config"]))
    assert config["config"]["Env"] == ["A=1", "B=2"]
    assert (config["config"]["User"], config["config"]["Cmd"]) == ("10001:10001", ["serve"])
    unpacked = [gzip.decompress(fetch(descriptor)) for descriptor in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [
        f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in unpacked
    ]
    assert [layer.unpacked_bytes for layer in layers] == [len(tar) for tar in unpacked]
    assert len(config["history"]) == 2
    assert len(content) == 4  # two layers, manifest, config


def test_pack_layer_is_owned_by_root_without_devices(tmp_path: Path) -> None:
    layer = pack_layer(fill(tmp_path / "a"), name="a", target=tmp_path / "a.tar.gz")
    with tarfile.open(layer.path) as tar:
        entries = {entry.name: entry for entry in tar}
    assert list(entries) == ["opt", "opt/app", "opt/app/link", "opt/app/run"]
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries.values()} == {
        (0, 0, "", MTIME)
    }
    assert entries["opt/app/run"].mode == 0o755
    assert entries["opt/app/link"].linkname == "run"
    unpack_layers([layer], tmp_path / "root")
    assert (tmp_path / "root/opt/app/link").read_text() == "hello"


def test_pack_layer_same_content_gives_same_bytes(tmp_path: Path) -> None:
    first = pack_layer(fill(tmp_path / "a"), name="x", target=tmp_path / "first")
    second = pack_layer(
        fill(tmp_path / "b", mtime=1_500_000_000), name="x", target=tmp_path / "second"
    )
    other = pack_layer(fill(tmp_path / "c", text="other"), name="x", target=tmp_path / "third")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert (first.digest, first.diff_id, first.size_bytes) == (
        second.digest,
        second.diff_id,
        second.size_bytes,
    )
    assert other.diff_id != first.diff_id
    for name, layer in (("one", first), ("two", second)):
        write_archive(image_of(layer), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_pack_layer_preserves_older_mtimes(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a")
    (folder / "new").write_text("made just now")
    layer = pack_layer(
        folder, name="a", target=tmp_path / "a.tar.gz", preserve_mtime_before=1_000_000_001
    )
    with tarfile.open(layer.path) as tar:
        times = {entry.name: entry.mtime for entry in tar if not entry.issym()}
    assert times == {
        "new": MTIME,
        "opt": 1_000_000_000,
        "opt/app": 1_000_000_000,
        "opt/app/run": 1_000_000_000,
    }


def test_open_atomically_interrupted_keeps_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def write() -> None:
        with open_atomically(target) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"


def test_is_archive_current_requires_same_complete_image(tmp_path: Path) -> None:
    layer = pack_layer(fill(tmp_path / "a"), name="a", target=tmp_path / "a.tar.gz")
    image, target = image_of(layer), tmp_path / "test.oci.tar"
    assert not is_archive_current(target, image)
    write_archive(image, target)
    assert is_archive_current(target, image)
    assert not is_archive_current(target, replace(image, command=("other",)))
    assert not is_archive_current(target, replace(image, reference="docker.io/storefleet/test:2"))
    target.write_bytes(target.read_bytes()[:4000])
    assert not is_archive_current(target, image)


def test_layer_cache_keeps_one_intact_layer_per_name(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path / "cache")
    with cache.hold_lock(), cache.create_work_folder() as room:
        folder = fill(room / "a")
        old, new, longer = CacheKey("a", 1), CacheKey("a", 2), CacheKey("longer")
        cache.store_layer(folder, name="oscar-template", key=longer)
        cache.store_layer(folder, name="oscar", key=old)
        kept = cache.store_layer(folder, name="oscar", key=new)
        assert cache.find_layer("oscar", old) is None
        assert cache.find_layer("oscar", new) == kept
        assert cache.find_layer("oscar-template", longer) is not None
        kept.path.write_bytes(kept.path.read_bytes()[:-1])
        assert cache.find_layer("oscar", new) is None
    assert not room.exists()


def test_cache_key_depends_on_names_modes_and_content(tmp_path: Path) -> None:
    (tmp_path / "tree/__pycache__").mkdir(parents=True)
    file = tmp_path / "tree/a.py"
    file.write_text("1")
    before = str(CacheKey("x").add_tree(tmp_path / "tree"))
    (tmp_path / "tree/__pycache__/a.pyc").write_text("compiled")
    assert str(CacheKey("x").add_tree(tmp_path / "tree")) == before
    file.chmod(0o755)
    assert str(CacheKey("x").add_tree(tmp_path / "tree")) != before
    file.chmod(0o644)
    file.write_text("2")
    assert str(CacheKey("x").add_tree(tmp_path / "tree")) != before


def test_extract_lock_entry_returns_package_with_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "aa==1 \\\n    --hash=sha256:1\n"
        "pg-x==2 \\\n    --hash=sha256:2 \\\n    --hash=sha256:3\n"
        "pg-xy==1\n"
    )
    assert (
        wheels.extract_lock_entry(lock, "pg-x")
        == "pg-x==2 \\\n    --hash=sha256:2 \\\n    --hash=sha256:3\n"
    )
    with pytest.raises(BuildError, match="does not lock pg"):
        wheels.extract_lock_entry(lock, "pg")


def test_remove_matches_without_match_fails(tmp_path: Path) -> None:
    (tmp_path / "faker/providers").mkdir(parents=True)
    wheels.remove_matches(tmp_path, ["fak*"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(BuildError, match="Correct the list"):
        wheels.remove_matches(tmp_path, ["faker"])


def test_run_program_failure_quotes_last_line(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    script = "import sys; print('first'); print('no space', file=sys.stderr); sys.exit(3)"
    with pytest.raises(BuildError, match=r"It failed: exit status 3: no space \(more in "):
        run_program(
            [sys.executable, "-u", "-c", script], failure="It failed", timeout_s=20, log=log
        )
    assert b"first" in log.read_bytes()
    with pytest.raises(BuildError, match="did not finish within"):
        run_program(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            failure="It",
            timeout_s=0.3,
            log=log,
        )
    with pytest.raises(BuildError, match="is missing"):
        run_program(["no-such-program"], failure="It", timeout_s=5, log=log)


def test_unpack_layers_then_pack_gives_same_digest(tmp_path: Path) -> None:
    first = pack_layer(fill(tmp_path / "a"), name="x", target=tmp_path / "first")
    unpack_layers([first], tmp_path / "again")
    assert (
        pack_layer(tmp_path / "again", name="x", target=tmp_path / "second").digest == first.digest
    )
