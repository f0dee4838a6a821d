""".ci/run with stand-ins of make and of the cluster: it gives the tests WooCommerce's plugin."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.documents.sources import ROOT

_MAKE = """#!/bin/sh
[ -n "$WOOCOMMERCE_DIRS" ] || echo "$*"
for folder in $(echo "$WOOCOMMERCE_DIRS" | tr : ' '); do
    echo "$* $(basename "$folder") $(cat "$folder/woocommerce.php")"
done
"""
_RESET = '#!/bin/sh\necho "cluster $1"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that contains nothing but .ci/run and the stand-ins."""
    project = tmp_path / "project"
    for path, text in {"programs/make": _MAKE, "tools/bare-cluster": _RESET}.items():
        script = project / path
        script.parent.mkdir(parents=True)
        script.write_text(text)
        script.chmod(0o755)
    (project / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", project / ".ci" / "run")
    return project


def add_archive(project: Path, version: str, *, file: str = "woocommerce.php") -> None:
    folder = project.parent / "shared" / "woocommerce"
    folder.mkdir(parents=True, exist_ok=True)
    source = project.parent / file
    source.write_text(version)
    with tarfile.open(folder / f"woocommerce-{version}.tar.xz", "w:xz") as archive:
        archive.add(source, arcname=file)


def run(project: Path) -> subprocess.CompletedProcess[str]:
    temporary = project.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    path = f"{project / 'programs'}:{os.environ['PATH']}"
    done = subprocess.run(
        [project / ".ci" / "run"],
        env={**os.environ, "PATH": path, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert list(temporary.iterdir()) == []
    return done


def test_two_archives_run_every_test_with_newest_version_first(project: Path) -> None:
    for version in ("10.6.2", "10.10.1"):
        add_archive(project, version)
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "check",
        "test",
        "test-cluster test-woocommerce woocommerce-10.10.1 10.10.1",
        "test-cluster test-woocommerce woocommerce-10.6.2 10.6.2",
        "cluster reset",
    ]


@pytest.mark.parametrize(
    ("versions", "found"), [([], "none"), (["10.6.2"], "only woocommerce-10.6.2")]
)
def test_fewer_than_two_archives_fail_before_any_test(
    project: Path, versions: list[str], found: str
) -> None:
    for version in versions:
        add_archive(project, version)
    done = run(project)
    assert done.returncode == 1
    assert f"Found: {found}. Put the archives there" in done.stderr
    assert "check" not in done.stdout


def test_archive_without_plugin_fails(project: Path) -> None:
    add_archive(project, "10.6.2", file="readme.txt")
    done = run(project)
    assert done.returncode == 1
    assert "woocommerce-10.6.2.tar.xz is not the WooCommerce plugin" in done.stderr
