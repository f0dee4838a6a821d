"""The two commands of the shop: `template` fills a database to be cloned, `serve` runs one store."""

import gc
import json
import os
import sys
from typing import NoReturn

from storefleet_oscar.configuration import ConfigurationError


def main(arguments: list[str]) -> int:
    if arguments not in (["template"], ["serve"]):
        _stop("usage: python -m storefleet_oscar template|serve")
    # Nothing of what is imported is ever garbage, and looking for some is a tenth of the start.
    gc.disable()
    os.environ["DJANGO_SETTINGS_MODULE"] = "storefleet_oscar.settings"
    try:
        return _serve() if arguments == ["serve"] else _template()
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


def _stop(reason: str) -> NoReturn:
    sys.stdout.write(json.dumps({"level": "error", "logger": "storefleet_oscar", "event": reason}) + "\n")
    sys.exit(2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
