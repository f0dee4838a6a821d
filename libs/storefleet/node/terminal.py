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

    def show_progress(self, text: str) -> None:
        """A spinner on a terminal, a line elsewhere."""
        line = text[:1].upper() + text[1:] + " …"
        if not self._errors.is_terminal:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal
        elif self._status is None:
            self._status = self._errors.status(Text(line))
            self._status.start()
        else:
            self._status.update(Text(line))

    def stop_spinner(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def show_ready_panel(
        self, sign_in: dict[str, Any], *, duration_s: float, credentials_file: str
    ) -> None:
        self.stop_spinner()
        rows = Table.grid(padding=(0, 2))
        for name, value in (
            ("Dashboard", f"{sign_in['url']}/"),
            ("E-mail", sign_in["email"]),
            ("Password", sign_in["password"]),
            ("API token", f"in {credentials_file}"),
        ):
            rows.add_row(Text(name, style="bold"), Text(value))
        hint = Text(
            "Ctrl-C or `make down` stops everything; the next `make up` continues.", style="dim"
        )
        panel = Panel(
            Group(rows, Text(), hint),
            title=f"Storefleet is ready ({duration_s:.1f} s)",
            expand=False,
        )
        Console(highlight=False).print(panel)
        sys.stdout.flush()

    def show_note(self, text: str) -> None:
        self.stop_spinner()
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal

    def show_error(self, text: str) -> None:
        self.stop_spinner()
        print(f"storefleet: {' '.join(text.split())}", file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal
