"""docker-compose.yml as plain processes: same commands and environment, folders as volumes."""

import os
import re
import shutil
import signal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from storefleet.node.private_files import create_folder, create_owned_folder
from storefleet.node.processes.launcher import (
    MINIMAL_ENVIRONMENT,
    ChildProcess,
    read_last_line,
    run_to_completion,
)
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers.server_programs import list_interpreter_paths
from storefleet.node.system_user import ensure_account
from tests.support.documents.sources import ROOT
from tests.support.services.ports import Ports

FILE = ROOT / "docker-compose.yml"
ENGINES = ROOT / "tests" / "fixtures" / "engines" / "local"
Service = dict[str, Any]


def read_services() -> dict[str, Service]:
    """Return the services with YAML anchors and merges resolved."""
    found: dict[str, Service] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return found


class Stack:
    """Runs every container's command as the system user, on ports of this test."""

    def __init__(self, folder: Path) -> None:
        self._account = ensure_account()
        self._folder = folder
        self._ports = Ports()
        self.port = {
            name: self._ports.take()
            for name in ("postgres", "nats", "health", "gateway", "notifier")
        }
        self.port |= {name: self._ports.take() for name in ("provisioner", "reaper", "first")}
        self._records = create_folder(folder / "pids")
        self._supervisor = Supervisor(records_dir=self._records)
        for volume in yaml.safe_load(FILE.read_text(encoding="utf-8"))["volumes"]:
            create_owned_folder(self._place(volume), self._account)

    async def up(self) -> None:
        """Start in the order of `depends_on`; wait for services that must complete."""
        self._ports.close()
        for name in sort_by_dependency(read_services()):
            if (
                name == "volumes"
            ):  # `chown` to the image's user: the account owns the folders already
                continue
            child = self._child(name, read_services()[name])
            if read_services()[name]["restart"] == "no":
                code = await run_to_completion(child, records_dir=self._records, timeout_s=60)
                assert code == 0, f"{name}: {read_last_line(child.log_file)}"
            else:
                self._supervisor.start(child)

    async def down(self) -> None:
        await self._supervisor.stop_all()
        self._ports.close()

    def read(self, service: str, path: str) -> str:
        """Read a file as the service sees it."""
        return Path(self._mapped(service, path)).read_text(encoding="utf-8").strip()

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _place(self, volume: str, subpath: str = "") -> Path:
        return create_folder(self._folder / "volumes", 0o711) / volume / subpath

    def _mapped(self, service: str, text: str) -> str:
        """Replace container paths by volume folders, and server names by this machine."""
        for mount in read_services()[service].get("volumes", []):
            subpath = mount.get("volume", {}).get("subpath", "")
            place = self._place(mount["source"], subpath)
            text = re.sub(rf"{re.escape(mount['target'])}(?=/|$)", str(place), text)
        for server, port in (("postgres", 5432), ("nats", 4222)):
            text = text.replace(f"{server}:{port}", f"127.0.0.1:{self.port[server]}")
        return text

    def _child(self, name: str, service: Service) -> ChildProcess:
        scratch = create_owned_folder(self._folder / f"tmp-{name}", self._account)
        words = [self._mapped(name, word) for word in service["command"]]
        program = {
            "python": sys.executable,
            "storefleet": f"{sysconfig.get_path('scripts')}/storefleet",
        }[words[0]]
        moved = (
            [f"--scratch={scratch}", "--listen=127.0.0.1"] if name in ("postgres", "nats") else []
        )
        moved += [f"--port={self.port[name]}"] if moved else []
        moved += [f"--health-port={self.port['health']}"] if name == "nats" else []
        number = signal.Signals[service.get("stop_signal", "SIGTERM")]
        return ChildProcess(
            name=name,
            argv=(program, *words[1:], *moved),
            cwd=scratch,
            log_file=self._folder / f"{name}.log",
            env=self._environment(name, service, scratch),
            rank={"postgres": 0, "nats": 0, "node": 1}.get(name, 2),
            account=self._account,
            readable_paths=(self._folder, ROOT, *list_interpreter_paths()),
            stop_signals=((number, 15.0),),
        )

    def _environment(self, name: str, service: Service, scratch: Path) -> dict[str, str]:
        told = {
            key: self._mapped(name, value) for key, value in service.get("environment", {}).items()
        }
        if not told:
            return {**MINIMAL_ENVIRONMENT, "HOME": str(scratch), "TMPDIR": str(scratch)}
        ports = {
            f"STOREFLEET_{each.upper()}_PORT": str(self.port[each])
            for each in ("gateway", "notifier", "provisioner", "reaper")
        }
        here = {
            "STOREFLEET_HOST": "127.0.0.1",
            "STOREFLEET_STORE_ADDRESS": "127.0.0.1",
            "STOREFLEET_PUBLIC_URL": f"http://127.0.0.1:{self.port['gateway']}",
            "STOREFLEET_PUBLIC_LIVE_URL": f"ws://127.0.0.1:{self.port['notifier']}",
            "STOREFLEET_STORE_PORT_FIRST": str(self.port["first"]),
            "STOREFLEET_STORE_PORT_LAST": str(self.port["first"] + 20),
            "STOREFLEET_ENGINES_PATH": str(ENGINES),
            "STOREFLEET_DEFAULT_ENGINE": "tiny",
        }
        assert set(told) >= {
            "STOREFLEET_HOST",
            "STOREFLEET_STORE_ADDRESS",
            "STOREFLEET_STORE_PORT_FIRST",
        }
        return {
            **MINIMAL_ENVIRONMENT,
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            **told,
            **ports,
            **here,
        }


def sort_by_dependency(all_of: dict[str, Service]) -> Iterator[str]:
    """Yield the names, each after its dependencies."""
    done: set[str] = set()
    while len(done) < len(all_of):
        ready = [
            name
            for name, each in all_of.items()
            if name not in done and set(each.get("depends_on", {})) <= done
        ]
        assert ready, "the services depend on each other in a circle"
        done.update(ready)
        yield from ready


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    assert not os.path.exists(folder)  # noqa: PTH110 - a broken link counts, too
