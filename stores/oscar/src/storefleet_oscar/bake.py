"""`bake`: make what an image carries: the template's dump and files, and a cluster with an empty database.

It runs at image build, with the image's own programs and a server on a socket of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from storefleet_oscar.configuration import ConfigurationError
from storefleet_oscar.copies import DUMP, FILES, MIGRATIONS
from storefleet_oscar.postgres import DATABASE, MAINTENANCE, PROGRAMS, ROLE, SUPERUSER, run_alone

CLUSTER = "cluster.tar"
COPIED = ("index", "media")
PATIENCE = 300
#: pg_dump surrounds its script by commands of psql that name this key; nobody else runs the script.
KEY = "storefleet"
INITDB = (
    *("--auth=reject", f"--username={SUPERUSER}", "--no-instructions", "--no-sync"),
    *("--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    "--wal-segsize=4",  # a shop writes little, and its first start copies one of them
)
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "io_method": "sync",
    "dynamic_shared_memory_type": "mmap",  # a build may have no /dev/shm
}


def bake() -> None:
    """Fill the folder that STORE_BAKE_FOLDER names."""
    target = os.environ.get("STORE_BAKE_FOLDER")
    if not target:
        raise ConfigurationError("STORE_BAKE_FOLDER names no folder")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = work / "data"
        _run("initdb", "-D", str(data), *INITDB)
        run_alone(
            data,
            f"CREATE ROLE {ROLE} LOGIN",
            f"CREATE DATABASE {DATABASE} OWNER {ROLE} TEMPLATE template0",
            f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
            f"DROP DATABASE {MAINTENANCE}",  # a quarter of the bytes that every store's first start copies
        )
        fresh = work / "fresh"
        fresh.mkdir()
        _pack(data, fresh / CLUSTER)
        _make_template(work, data, fresh)
        _replace(fresh, Path(target))


def _make_template(work: Path, data: Path, fresh: Path) -> None:
    (work / "hba.conf").write_text("local all all trust\n", encoding="ascii")
    settings = {
        **SETTINGS,
        "unix_socket_directories": str(work),
        "hba_file": str(work / "hba.conf"),
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    server = subprocess.Popen(
        [str(PROGRAMS / "postgres"), "-D", str(data), *options], stdin=subprocess.DEVNULL
    )
    try:
        _wait_for(server, work)
        statements = ("CREATE ROLE template LOGIN", "CREATE DATABASE template OWNER template")
        _run(
            "psql",
            f"--host={work}",
            f"--username={SUPERUSER}",
            f"--dbname={DATABASE}",
            *(f"--command={each}" for each in statements),
        )
        configuration = _configuration(work)
        environment = {**os.environ, "STORE_CONFIG": str(configuration), "STORE_ID": "template"}
        template = [sys.executable, "-m", "storefleet_oscar", "template"]
        subprocess.run(template, env=environment, check=True, timeout=PATIENCE, cwd=work)
        _dump(work, fresh / DUMP)
        _note_migrations(work, fresh / MIGRATIONS)
        for name in COPIED:
            shutil.copytree(work / FILES / name, fresh / FILES / name)
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _configuration(work: Path) -> Path:
    for name in (FILES, "mail"):
        (work / name).mkdir()
    path = work / "store.json"
    content = {
        "store_id": "template",
        "name": "template",
        "host": "template.localhost",
        "port": 1,
        "url": "http://template.localhost/",
        "database": {
            "host": str(work),
            "port": 5432,
            "name": "template",
            "user": "template",
            "password": "",
        },
        "secret_key": os.urandom(32).hex(),
        "admin": {"username": "", "password": ""},
        "data_dir": str(work / FILES),
        "mail_dir": str(work / "mail"),
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _wait_for(server: "subprocess.Popen[bytes]", work: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    command = [str(PROGRAMS / "pg_isready"), "--quiet", f"--host={work}"]
    while subprocess.run(command, check=False, timeout=PATIENCE).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise ConfigurationError(
                "the database server of the build does not start; its own words are above"
            )
        time.sleep(0.05)


def _dump(work: Path, path: Path) -> None:
    """One script for one `execute`; psql's commands are taken out of it."""
    options = (
        "--no-owner",
        "--no-privileges",
        "--inserts",
        "--rows-per-insert=1000",
        f"--restrict-key={KEY}",
    )
    _run("pg_dump", f"--host={work}", "--username=template", *options, f"--file={path}", "template")
    mine = (f"\\restrict {KEY}", f"\\unrestrict {KEY}")
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join(line for line in lines if line not in mine), encoding="utf-8")


def _note_migrations(work: Path, path: Path) -> None:
    """What has been done to the tables, so that a shop can tell without its own code whether a database fits it."""
    query = "SELECT app || '.' || name FROM django_migrations ORDER BY 1"
    options = (
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        f"--command={query}",
        f"--output={path}",
    )
    _run("psql", f"--host={work}", "--username=template", "--dbname=template", *options)


def _pack(data: Path, path: Path) -> None:
    """Without owners: who unpacks it owns it."""

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(path, "w") as archive:
        for child in sorted(data.iterdir()):
            archive.add(child, child.name, filter=anonymous)


def _replace(fresh: Path, target: Path) -> None:
    for entry in sorted(fresh.iterdir()):
        place = target / entry.name
        if place.is_dir():
            shutil.rmtree(place)
        shutil.move(entry, place)


def _run(program: str, *options: str) -> None:
    subprocess.run(
        [str(PROGRAMS / program), *options],
        check=True,
        timeout=PATIENCE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
