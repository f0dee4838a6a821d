"""What a person sees of the node: what it is doing, the panel when it is ready, one line when it cannot go on."""

import sys
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text


class Terminal:
    """Progress goes to standard error, the panel to standard output."""

    def __init__(self) -> None:
        self._errors = Console(stderr=True, soft_wrap=True, highlight=False)
        self._status: Status | None = None

    def say(self, text: str) -> None:
        """A spinner on a terminal, a line elsewhere."""
        line = text[:1].upper() + text[1:] + " …"
        if not self._errors.is_terminal:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal
        elif self._status is None:
            self._status = self._errors.status(Text(line))
            self._status.start()
        else:
            self._status.update(Text(line))

    def quiet(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def ready(self, told: dict[str, Any], *, seconds: float, file: str) -> None:
        self.quiet()
        rows = Table.grid(padding=(0, 2))
        for name, value in (
            ("Dashboard", f"{told['url']}/"),
            ("E-mail", told["email"]),
            ("Password", told["password"]),
            ("API token", f"in {file}"),
        ):
            rows.add_row(Text(name, style="bold"), Text(value))
        hint = Text(
            "Ctrl-C or `make down` stops everything; the next `make up` continues.", style="dim"
        )
        panel = Panel(
            Group(rows, Text(), hint), title=f"Storefleet is ready ({seconds:.1f} s)", expand=False
        )
        Console(highlight=False).print(panel)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        self.quiet()
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal

    def problem(self, text: str) -> None:
        self.quiet()
        print(f"storefleet: {' '.join(text.split())}", file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal
