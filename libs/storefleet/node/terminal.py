"""The terminal output of `storefleet up`: progress, the sign-in panel, one line for an error.

Progress and errors go to standard error, the panel to standard output.
"""

import sys
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text


class Terminal:
    """Writes to the terminal of one run."""

    def __init__(self) -> None:
        """Prepare the output without writing anything."""
        self._errors = Console(stderr=True, soft_wrap=True, highlight=False)
        self._status: Status | None = None

    def show_progress(self, text: str) -> None:
        """Show what is being done: a spinner on a terminal, a line elsewhere.

        Args:
            text: The activity, such as `starting the services`.
        """
        line = text[:1].upper() + text[1:] + " …"
        if not self._errors.is_terminal:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal
        elif self._status is None:
            self._status = self._errors.status(Text(line))
            self._status.start()
        else:
            self._status.update(Text(line))

    def stop_spinner(self) -> None:
        """Stop the spinner if one is running."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def show_ready_panel(
        self, sign_in: dict[str, Any], *, duration_s: float, credentials_file: str
    ) -> None:
        """Show the address of the dashboard and the credentials of the first owner.

        Args:
            sign_in: `url`, `email` and `password`.
            duration_s: How long the start took, in seconds.
            credentials_file: The file that also holds the API token.
        """
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
            "Ctrl-C stops everything and keeps all data; the next start continues.", style="dim"
        )
        panel = Panel(
            Group(rows, Text(), hint),
            title=f"Storefleet is ready ({duration_s:.1f} s)",
            expand=False,
        )
        Console(highlight=False).print(panel)
        sys.stdout.flush()

    def show_note(self, text: str) -> None:
        """Show a line of information."""
        self.stop_spinner()
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal

    def show_error(self, text: str) -> None:
        """Show an error as one line, whatever line breaks its text has."""
        self.stop_spinner()
        line = f"storefleet: {' '.join(text.split())}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal
