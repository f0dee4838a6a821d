"""The commands of the shop: `template` fills a database to be cloned, `serve` runs one store.

In containers, `setup` fills the store's database from its image, `database` is its server, `bake` makes what the
image carries, and `dump`, `restore` and `orders` are what the platform asks for when the store gets another version.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from storefleet_oscar.configuration import ConfigurationError

#: Exit statuses: whoever started it may try again, or need not.
TRY_AGAIN, IN_VAIN = 1, 2


def main(arguments: list[str]) -> int:
    command = _COMMANDS.get(arguments[0]) if len(arguments) == 1 else None
    if command is None:
        _stop(f"usage: python -m storefleet_oscar {'|'.join(_COMMANDS)}")
    # Nothing of what is imported is ever garbage, and looking for some is a tenth of the start.
    gc.disable()
    os.environ["DJANGO_SETTINGS_MODULE"] = "storefleet_oscar.settings"
    try:
        return command()
    except ConfigurationError as error:
        _stop(str(error))


def _serve() -> int:
    from storefleet_oscar.serve import serve

    return serve()


def _template() -> int:
    from storefleet_oscar.template import make_template

    gc.enable()
    make_template()
    return 0


def _setup() -> int:
    from storefleet_oscar.setup import set_up

    return _tried(set_up)


def _task(name: str) -> Callable[[], int]:
    def run() -> int:
        from storefleet_oscar import tasks

        return _tried({"dump": tasks.dump, "restore": tasks.restore, "orders": tasks.orders}[name])

    return run


def _tried(work: Callable[[], None]) -> int:
    """The exit status says whether another try may do."""
    from storefleet_oscar.restore import SetupError
    from storefleet_oscar.setup import DatabaseAway

    try:
        work()
    except SetupError as error:
        _stop(str(error))
    except DatabaseAway as error:
        _stop(str(error), status=TRY_AGAIN)
    return 0


def _database() -> NoReturn:
    from storefleet_oscar.postgres import serve

    serve()


def _bake() -> int:
    from storefleet_oscar.bake import bake

    bake()
    return 0


def _stop(reason: str, *, status: int = IN_VAIN) -> NoReturn:
    sys.stdout.write(
        json.dumps({"level": "error", "logger": "storefleet_oscar", "event": reason}) + "\n"
    )
    sys.exit(status)


_COMMANDS: dict[str, Callable[[], int]] = {
    "template": _template,
    "serve": _serve,
    "setup": _setup,
    "database": _database,
    "bake": _bake,
    **{name: _task(name) for name in ("dump", "restore", "orders")},
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
