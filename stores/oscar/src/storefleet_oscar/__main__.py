"""Command line of an Oscar store.

`template` fills the database that stores are cloned from; `serve` runs one store. In containers,
`setup` fills the store's database from its image, `database` runs its PostgreSQL server, and `bake`
builds the image's content. `dump`, `restore` and `orders` are the tasks of upgrades and rollbacks.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from storefleet_oscar.configuration import ConfigurationError

#: Exit statuses: a retry may succeed, or it fails in the same way.
EXIT_RETRYABLE, EXIT_PERMANENT = 1, 2


def main(arguments: list[str]) -> int:
    """Run the command that the arguments name and return its exit status."""
    command = _COMMANDS.get(arguments[0]) if len(arguments) == 1 else None
    if command is None:
        _exit_with_error(f"usage: python -m storefleet_oscar {'|'.join(_COMMANDS)}")
    # No imported object ever becomes garbage; collecting would take a tenth of the start-up.
    gc.disable()
    os.environ["DJANGO_SETTINGS_MODULE"] = "storefleet_oscar.settings"
    try:
        return command()
    except ConfigurationError as error:
        _exit_with_error(str(error))


def _run_serve() -> int:
    from storefleet_oscar.serve import serve_store

    return serve_store()


def _run_template() -> int:
    from storefleet_oscar.template import build_template

    gc.enable()
    build_template()
    return 0


def _run_setup() -> int:
    from storefleet_oscar.setup import set_up_store

    return _run_with_exit_status(set_up_store)


def _make_task_command(name: str) -> Callable[[], int]:
    def run_task() -> int:
        from storefleet_oscar import tasks

        functions = {
            "dump": tasks.dump_database,
            "restore": tasks.restore_database,
            "orders": tasks.list_orders,
        }
        return _run_with_exit_status(functions[name])

    return run_task


def _run_with_exit_status(work: Callable[[], None]) -> int:
    """Run `work`; translate its errors to the exit status that says whether a retry may succeed."""
    from storefleet_oscar.setup import DatabaseUnavailable
    from storefleet_oscar.template_restore import SetupError

    try:
        work()
    except SetupError as error:
        _exit_with_error(str(error))
    except DatabaseUnavailable as error:
        _exit_with_error(str(error), status=EXIT_RETRYABLE)
    return 0


def _run_database() -> NoReturn:
    from storefleet_oscar.postgres import run_server

    run_server()


def _run_bake() -> int:
    from storefleet_oscar.bake import build_image_content

    build_image_content()
    return 0


def _exit_with_error(reason: str, *, status: int = EXIT_PERMANENT) -> NoReturn:
    sys.stdout.write(
        json.dumps({"level": "error", "logger": "storefleet_oscar", "event": reason}) + "\n"
    )
    sys.exit(status)


_COMMANDS: dict[str, Callable[[], int]] = {
    "template": _run_template,
    "serve": _run_serve,
    "setup": _run_setup,
    "database": _run_database,
    "bake": _run_bake,
    **{name: _make_task_command(name) for name in ("dump", "restore", "orders")},
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
