"""`bake`: build the content that an image carries.

That is the template's dump and files, and a PostgreSQL cluster with an empty database. It runs
during the image build, with the image's own programs and a server on a private Unix socket.
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
from storefleet_oscar.postgres import (
    DATABASE,
    MAINTENANCE,
    PROGRAMS,
    ROLE,
    SUPERUSER,
    run_single_user,
)

CLUSTER_ARCHIVE = "cluster.tar"
COPIED_FOLDERS = ("media",)
TIMEOUT_S = 300
#: pg_dump wraps its script in psql commands that name this key; psql never runs this script.
RESTRICT_KEY = "storefleet"
INITDB_OPTIONS = (
    *("--auth=reject", f"--username={SUPERUSER}", "--no-instructions", "--no-sync"),
    *("--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    "--wal-segsize=4",  # a store writes little, and its first start copies one segment
)
SERVER_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "io_method": "sync",
    "dynamic_shared_memory_type": "mmap",  # a build environment may lack /dev/shm
}


def build_image_content() -> None:
    """Fill the folder that STORE_BAKE_FOLDER names; raises ConfigurationError."""
    target = os.environ.get("STORE_BAKE_FOLDER")
    if not target:
        raise ConfigurationError("STORE_BAKE_FOLDER is not set. Set it to the folder to fill.")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = work / "data"
        _run_program("initdb", "-D", str(data), *INITDB_OPTIONS)
        run_single_user(
            data,
            f"CREATE ROLE {ROLE} LOGIN",
            f"CREATE DATABASE {DATABASE} OWNER {ROLE} TEMPLATE template0",
            f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
            # a quarter of the bytes that every store's first start copies
            f"DROP DATABASE {MAINTENANCE}",
        )
        fresh = work / "fresh"
        fresh.mkdir()
        _pack_cluster(data, fresh / CLUSTER_ARCHIVE)
        _build_template(work, data, fresh)
        _replace_content(fresh, Path(target))


def _build_template(work: Path, data: Path, fresh: Path) -> None:
    (work / "hba.conf").write_text("local all all trust\n", encoding="ascii")
    settings = {
        **SERVER_SETTINGS,
        "unix_socket_directories": str(work),
        "hba_file": str(work / "hba.conf"),
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    server = subprocess.Popen(
        [str(PROGRAMS / "postgres"), "-D", str(data), *options], stdin=subprocess.DEVNULL
    )
    try:
        _wait_for_server(server, work)
        statements = ("CREATE ROLE template LOGIN", "CREATE DATABASE template OWNER template")
        _run_program(
            "psql",
            f"--host={work}",
            f"--username={SUPERUSER}",
            f"--dbname={DATABASE}",
            *(f"--command={each}" for each in statements),
        )
        configuration = _write_configuration(work)
        environment = {**os.environ, "STORE_CONFIG": str(configuration), "STORE_ID": "template"}
        template = [sys.executable, "-m", "storefleet_oscar", "template"]
        subprocess.run(template, env=environment, check=True, timeout=TIMEOUT_S, cwd=work)
        _dump_template(work, fresh / DUMP)
        _record_migrations(work, fresh / MIGRATIONS)
        for name in COPIED_FOLDERS:
            shutil.copytree(work / FILES / name, fresh / FILES / name)
    finally:
        server.terminate()
        server.wait(TIMEOUT_S)


def _write_configuration(work: Path) -> Path:
    (work / FILES).mkdir()
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
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _wait_for_server(server: "subprocess.Popen[bytes]", work: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    command = [str(PROGRAMS / "pg_isready"), "--quiet", f"--host={work}"]
    while subprocess.run(command, check=False, timeout=TIMEOUT_S).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise ConfigurationError(
                "The build's database server does not start. Its own messages are above."
            )
        time.sleep(0.05)


def _dump_template(work: Path, path: Path) -> None:
    """Dump the template as one SQL script without psql commands, for a single `execute`."""
    options = (
        "--no-owner",
        "--no-privileges",
        "--inserts",
        "--rows-per-insert=1000",
        f"--restrict-key={RESTRICT_KEY}",
    )
    _run_program(
        "pg_dump", f"--host={work}", "--username=template", *options, f"--file={path}", "template"
    )
    psql_commands = (f"\\restrict {RESTRICT_KEY}", f"\\unrestrict {RESTRICT_KEY}")
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join(line for line in lines if line not in psql_commands), "utf-8")


def _record_migrations(work: Path, path: Path) -> None:
    """List the applied migrations in a file.

    With it, a store decides without loading Django whether a database fits its version.
    """
    query = "SELECT app || '.' || name FROM django_migrations ORDER BY 1"
    options = (
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        f"--command={query}",
        f"--output={path}",
    )
    _run_program("psql", f"--host={work}", "--username=template", "--dbname=template", *options)


def _pack_cluster(data: Path, path: Path) -> None:
    """Pack the cluster without owners, so that the user who unpacks it becomes the owner."""

    def clear_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(path, "w") as archive:
        for child in sorted(data.iterdir()):
            archive.add(child, child.name, filter=clear_owner)


def _replace_content(fresh: Path, target: Path) -> None:
    for entry in sorted(fresh.iterdir()):
        place = target / entry.name
        if place.is_dir():
            shutil.rmtree(place)
        shutil.move(entry, place)


def _run_program(program: str, *options: str) -> None:
    subprocess.run(
        [str(PROGRAMS / program), *options],
        check=True,
        timeout=TIMEOUT_S,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
