"""The commands of the shop: `template` fills a database to be cloned, `serve` runs one store.

In containers, `setup` fills the store's database from its image, `database` is its server, and `bake` makes what the
image carries.
"""

import gc
import json
import os
import sys
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
    from storefleet_oscar.restore import SetupError
    from storefleet_oscar.setup import DatabaseAway, set_up

    try:
        set_up()
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
    sys.stdout.write(json.dumps({"level": "error", "logger": "storefleet_oscar", "event": reason}) + "\n")
    sys.exit(status)


_COMMANDS = {"template": _template, "serve": _serve, "setup": _setup, "database": _database, "bake": _bake}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
