"""Runtime selection; a service imports only the runtime that it uses."""

import subprocess
import sys

import pytest

from storefleet import runtimes
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines import catalogue
from tests.support.cluster.samples import ENGINES

_MAKE = """
import sys
from services.{service}.app import create_app
from storefleet.core.settings import Settings
create_app(Settings(runtime="{runtime}", engines_path=()))
print("kubernetes_asyncio" in sys.modules)
"""


@pytest.mark.parametrize("service", ["gateway", "provisioner", "reaper"])
@pytest.mark.parametrize("runtime", ["local", "simulated", "kubernetes"])
def test_client_library_is_imported_lazily(service: str, runtime: str) -> None:
    code = _MAKE.format(service=service, runtime=runtime)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(runtime == "kubernetes")


@pytest.mark.parametrize("name", ["local", "simulated", "kubernetes"])
def test_settings_select_runtime(name: str) -> None:
    settings = Settings(runtime=name, engines_path=(ENGINES,))
    runtime = runtimes.create_runtime(
        settings,
        database=Database("postgresql://x"),
        engines=catalogue.load_engines(settings.engines_path, runtime=name),
    )
    assert type(runtime).__name__ == f"{name.capitalize()}Runtime"
