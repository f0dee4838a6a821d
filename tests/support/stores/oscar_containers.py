"""The container commands of an Oscar store, run as plain processes."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from storefleet.node.private_files import create_owned_folder, write_file, write_json
from storefleet.node.processes.launcher import (
    ChildProcess,
    RunningChild,
    launch_child,
    run_to_completion,
)
from storefleet.node.servers.server_programs import find_postgres_dir
from storefleet.node.system_user import SystemAccount
from tests.support.services.polling import eventually
from tests.support.texts.samples import STORE_TITLE

PASSWORD = "it's-a-\\password"
HOST = "shop.localhost"
SIGN_IN = {"username": f"admin@{HOST}", "password": "admin-password"}
MAIL_KEY = "mail-key-of-the-store"
READY = 30.0
#: On a busy machine PostgreSQL writes its last checkpoint for a long time.
STOPPED_WITHIN = 60.0


@dataclass
class Containers:
    """The commands of one store, with a folder in place of image and volumes."""

    folder: Path
    account: SystemAccount | None
    python: Path
    source: Path
    port: int
    shop_port: int

    def make_process(self, command: str, **environment: str) -> ChildProcess:
        programs = find_postgres_dir()
        common = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(self.source),
            "STORE_POSTGRES_PROGRAMS": str(programs / "bin"),
            "STORE_BAKE_FOLDER": str(self.folder / "template"),
            "STORE_CONFIG": str(self.folder / "store.json"),
            "STORE_ID": "sto_1",
            "STORE_DATABASE_FOLDER": str(self.folder / "database"),
            "STORE_DATABASE_SETTINGS": str(self.folder / "settings"),
            "STORE_DATABASE_CLUSTER": str(self.folder / "template" / "cluster.tar"),
            "STORE_DATABASE_PASSWORD_FILE": str(self.folder / "password"),
            "STORE_BACKUPS_FOLDER": str(self.folder / "backups"),
            "STORE_ANSWER_FILE": str(self.folder / "tmp" / "answer"),
            "TMPDIR": str(self.folder / "tmp"),
        }
        libraries = programs.parent.with_name(f"{programs.parent.name}.libs")
        venv = self.python.parents[1]
        base = Path(os.path.realpath(self.python)).parents[1]
        return ChildProcess(
            name=command,
            argv=(str(self.python), "-m", "storefleet_oscar", command),
            cwd=self.folder,
            log_file=self.get_log_path(command),
            env={**common, **environment},
            account=self.account,
            readable_paths=(self.folder, self.source, venv, base, programs.parent, libraries),
        )

    def get_log_path(self, command: str) -> Path:
        return self.folder / f"{command}.log"

    def start_command(self, command: str, **environment: str) -> RunningChild:
        return launch_child(
            self.make_process(command, **environment), records_dir=self.folder / "pids"
        )

    async def run_command(self, command: str, **environment: str) -> int:
        return await run_to_completion(
            self.make_process(command, **environment),
            records_dir=self.folder / "pids",
            timeout_s=120,
        )

    async def run_script(self, path: Path, **environment: str) -> int:
        """Run a program with the store's interpreter, code and configuration."""
        script = self.make_process(
            path.stem, DJANGO_SETTINGS_MODULE="storefleet_oscar.settings", **environment
        )
        script = replace(
            script,
            argv=(str(self.python), str(path)),
            readable_paths=(*script.readable_paths, path.parent),
        )
        return await run_to_completion(script, records_dir=self.folder / "pids", timeout_s=300)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve the store while the block runs."""
        running = self.start_command("serve")
        try:
            await eventually(self.is_ready, within=READY)
            yield
        finally:
            await stop_process(running, signal.SIGTERM)

    @property
    def url(self) -> str:
        """The address of the store, as its customers see it."""
        return f"http://{HOST}/"

    @property
    def at(self) -> str:
        """Where the store listens."""
        return f"http://127.0.0.1:{self.shop_port}"

    async def open_connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self.port,
            user="store",
            database="store",
            password=PASSWORD,
            timeout=5,
        )

    async def fetch_value(self, statement: str) -> Any:
        connection = await self.open_connection()
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def count_rows(self) -> dict[str, int]:
        """Count the rows of every table, except sessions, which every visit adds."""
        connection = await self.open_connection()
        try:
            names = await connection.fetch(
                "SELECT relname FROM pg_class"
                " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
            return {
                name: await connection.fetchval(f'SELECT count(*) FROM public."{name}"')  # noqa: S608
                for name in sorted(record[0] for record in names)
                if name != "django_session"
            }
        finally:
            await connection.close()

    async def reset_database(self) -> None:
        """Reset the database to its state before the first set-up."""
        await self.fetch_value("DROP SCHEMA public CASCADE")
        await self.fetch_value("CREATE SCHEMA public")

    def reset_files(self) -> None:
        """Delete pictures that an earlier test has changed; the next start copies the image's."""
        for entry in (self.folder / "files").iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)

    async def is_answering(self) -> bool:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
            return bool(await self.fetch_value("SELECT true"))
        return False

    async def request_page(self, path: str, host: str = "10.1.2.3") -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            url = f"http://127.0.0.1:{self.shop_port}{path}"
            async with session.get(url, headers={"Host": host}) as response:
                return response.status, await response.text()

    async def is_ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            return (await self.request_page("/readyz"))[0] == 200
        return False

    def write_configuration(self) -> None:
        settings = create_owned_folder(self.folder / "settings", self.account)
        text = (
            f"listen_addresses = '127.0.0.1'\nport = {self.port}\n"
            "unix_socket_directories = ''\nio_method = 'sync'\n"
        )
        write_file(settings / "postgresql.conf", text, readers=self.account)
        write_file(
            settings / "pg_hba.conf", "host store store all scram-sha-256\n", readers=self.account
        )
        held = {
            "password": PASSWORD,
            "key": secrets.token_hex(20),
            "user": f"admin@{HOST}",
            "admin": "admin-password",
            "mail-key": MAIL_KEY,
        }
        for name, text in held.items():
            write_file(self.folder / name, text, readers=self.account)
        shop = {
            "store_id": "sto_1",
            "name": "shop",
            "host": HOST,
            "url": f"http://{HOST}/",
            "port": self.shop_port,
            "database": {
                "host": "127.0.0.1",
                "port": self.port,
                "name": "store",
                "user": "store",
                "password_file": str(self.folder / "password"),
            },
            "secret_key_file": str(self.folder / "key"),
            "admin": {
                "username_file": str(self.folder / "user"),
                "password_file": str(self.folder / "admin"),
            },
            "parameters": {"title": STORE_TITLE, "currency": "GBP"},
            "data_dir": str(self.folder / "files"),
            "mail_key_file": str(self.folder / "mail-key"),
            "template_dir": str(self.folder / "template"),
        }
        write_json(self.folder / "store.json", shop, owner=self.account)


async def stop_process(running: RunningChild, number: int = signal.SIGINT) -> float:
    """Stop a process by a signal and return how many seconds that took."""
    began = time.monotonic()
    os.kill(running.identity.pid, number)
    async with asyncio.timeout(STOPPED_WITHIN):
        await running.wait_until_ended()
    return time.monotonic() - began


def read_log(shop: Containers, command: str) -> str:
    return shop.get_log_path(command).read_text()
