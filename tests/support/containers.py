"""What would be the containers of an Oscar shop, run as plain processes."""

import asyncio
import contextlib
import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from storefleet.node.private_files import give_folder, write_file, write_json
from storefleet.node.processes.launcher import Child, Running, launch, run_to_end
from storefleet.node.servers.server_programs import postgres_folder
from storefleet.node.system_user import Account

PASSWORD = "it's-a-\\password"
HOST = "shop.localhost"
READY = 30.0


@dataclass
class Containers:
    """What would be the pods of one store, in a folder that stands for image and volumes."""

    folder: Path
    account: Account | None
    python: Path
    source: Path
    port: int
    shop_port: int

    def child(self, command: str, **environment: str) -> Child:
        programs = postgres_folder()
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
        return Child(
            name=command,
            argv=(str(self.python), "-m", "storefleet_oscar", command),
            cwd=self.folder,
            log=self.log(command),
            env={**common, **environment},
            account=self.account,
            reach=(self.folder, self.source, venv, base, programs.parent, libraries),
        )

    def log(self, command: str) -> Path:
        return self.folder / f"{command}.log"

    def start(self, command: str, **environment: str) -> Running:
        return launch(self.child(command, **environment), records=self.folder / "pids")

    async def run(self, command: str, **environment: str) -> int:
        return await run_to_end(
            self.child(command, **environment), records=self.folder / "pids", timeout=120
        )

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self.port,
            user="store",
            database="store",
            password=PASSWORD,
            timeout=5,
        )

    async def ask(self, statement: str) -> Any:
        connection = await self.connect()
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def state(self) -> dict[str, int]:
        """Rows of every table of the shop, but for what every sign of life adds."""
        connection = await self.connect()
        try:
            names = await connection.fetch(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
            return {
                name: await connection.fetchval(f'SELECT count(*) FROM public."{name}"')  # noqa: S608
                for name in sorted(record[0] for record in names)
                if name != "django_session"
            }
        finally:
            await connection.close()

    async def empty(self) -> None:
        """As it was before the first set-up."""
        await self.ask("DROP SCHEMA public CASCADE")
        await self.ask("CREATE SCHEMA public")

    async def answers(self) -> bool:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
            return bool(await self.ask("SELECT true"))
        return False

    async def get(self, path: str, host: str = "10.1.2.3") -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            url = f"http://127.0.0.1:{self.shop_port}{path}"
            async with session.get(url, headers={"Host": host}) as response:
                return response.status, await response.text()

    async def is_ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            return (await self.get("/readyz"))[0] == 200
        return False

    def configure(self) -> None:
        settings = give_folder(self.folder / "settings", self.account)
        text = f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\nio_method = 'sync'\n"
        write_file(settings / "postgresql.conf", text, readers=self.account)
        write_file(
            settings / "pg_hba.conf", "host store store all scram-sha-256\n", readers=self.account
        )
        held = {
            "password": PASSWORD,
            "key": secrets.token_hex(20),
            "user": f"admin@{HOST}",
            "admin": "admin-password",
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
            "parameters": {"title": "Shop in a Box", "currency": "GBP"},
            "data_dir": str(self.folder / "files"),
            "mail_dir": str(self.folder / "files" / "mail"),
            "template_dir": str(self.folder / "template"),
        }
        write_json(self.folder / "store.json", shop, owner=self.account)


async def end(running: Running, number: int = signal.SIGINT) -> float:
    """Seconds that it took to end by a signal."""
    began = time.monotonic()
    os.kill(running.identity.pid, number)
    async with asyncio.timeout(15):
        await running.ended()
    return time.monotonic() - began


def told(shop: Containers, command: str) -> str:
    return shop.log(command).read_text()
