"""Services and the scripted worker as processes that tests kill or freeze."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from storefleet.core.settings import ENVIRONMENT_PREFIX, Settings
from tests.support.services.polling import eventually

ROOT = Path(__file__).resolve().parents[3]


def environment(settings: Settings) -> dict[str, str]:
    """Return environment variables that give a process the same settings."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)
    }
    chosen = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if hasattr(value, "get_secret_value"):
            value = value.get_secret_value()
        elif isinstance(value, tuple):
            value = (":" if name == "engines_path" else ",").join(map(str, value))
        chosen[f"{ENVIRONMENT_PREFIX}{name.upper()}"] = str(value)
    return {**plain, **chosen}


class Process:
    """`python -m <module>`, with its output in a file."""

    def __init__(
        self, module: str, settings: Settings, *, log: Path, extra: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env={**environment(settings), **(extra or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def alive(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.alive():
            self._popen.send_signal(number)

    async def ended(self, *, within: float = 15) -> int:
        await eventually(lambda: not self.alive(), within=within)
        return self._popen.returncode

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.ended()

    async def end(self) -> None:
        """End the process, also when it is frozen."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            await self.ended()
        except AssertionError:
            await self.kill()
            raise

    async def ready(self, port: int, *, within: float = 20) -> None:
        """Wait for /readyz."""

        async def look() -> bool:
            assert self.alive(), self.output[-2000:]
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                    return response.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
            await eventually(look, within=within, every=0.05)
        await asyncio.sleep(0)
