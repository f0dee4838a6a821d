"""Failpoints: named places around external effects where a test can kill the process.

Failpoints do nothing unless a test sets one of two variables. `STOREFLEET_FAILPOINT_FILE` is a file
that names a failpoint: the process that reaches it deletes the file, so that it is killed only
once, and kills itself with SIGKILL. `STOREFLEET_FAILPOINT_LOG` is a file to which the name of every
failpoint that is reached is appended; tests compare it with the source.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ARMED_FILE = os.environ.get("STOREFLEET_FAILPOINT_FILE", "")
_VISIT_LOG = os.environ.get("STOREFLEET_FAILPOINT_LOG", "")


@contextmanager
def effect(name: str) -> Iterator[None]:
    """Enclose one external effect in the failpoints `<name>:before` and `<name>:after`.

    Args:
        name: The name of the effect, unique in the source. `<name>:after` is not reached if the
            effect raises an exception.
    """
    if _ARMED_FILE or _VISIT_LOG:
        _visit_failpoint(f"{name}:before")
    yield
    if _ARMED_FILE or _VISIT_LOG:
        _visit_failpoint(f"{name}:after")


def _visit_failpoint(point: str) -> None:
    if _VISIT_LOG:
        with Path(_VISIT_LOG).open("a", encoding="utf-8") as log:
            log.write(point + "\n")
    if _ARMED_FILE and _disarm_if_named(Path(_ARMED_FILE), point):
        os.kill(os.getpid(), signal.SIGKILL)


def _disarm_if_named(file: Path, point: str) -> bool:
    try:
        armed = file.read_text(encoding="utf-8").strip() == point
        if armed:
            file.unlink()
    except FileNotFoundError:
        return False
    return armed
