"""Show a running operation: a live list of steps on a terminal, one line per change elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from storefleet.cli.formatting import (
    format_duration,
    format_one_line,
    get_elapsed_s,
    get_operation_noun,
    measure_width,
)
from storefleet.cli.operation_follower import ProgressDisplay
from storefleet.cli.output import can_redraw, messages

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

Operation = dict[str, Any]
_ACTIVITIES = {
    "create": "Creating",
    "delete": "Deleting",
    "upgrade": "Upgrading",
    "rollback": "Rolling back",
}
_RESULTS = {
    "create": "is ready",
    "delete": "is deleted",
    "upgrade": "is upgraded",
    "rollback": "is rolled back",
}
_SPINNER_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_STATE_MARKS = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("-", "yellow"),
    "pending": ("·", "dim"),
}


@contextmanager
def open_display(name: str) -> Iterator[ProgressDisplay]:
    """Open the display that standard error supports.

    Args:
        name: The store's name.

    Yields:
        A display that redraws itself on a terminal, and writes lines elsewhere.
    """
    if not can_redraw():
        yield LineDisplay(name)
        return
    from rich.console import Console
    from rich.live import Live

    display = LiveDisplay(name)
    with Live(
        get_renderable=display.render, console=Console(stderr=True), refresh_per_second=10
    ) as live:
        display.live = live
        yield display


class LineDisplay:
    """Writes one line when a step ends, and when a running step has a new message."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._written: set[tuple[object, ...]] = set()
        self._headline_written = False

    def show(self, operation: Operation) -> None:
        """Write the changes since the last state."""
        steps = operation["steps"]
        for number, step in enumerate(steps, start=1):
            state, message = step["state"], _describe_step(step, operation)
            if state == "pending" or (state == "running" and not message):
                continue
            text = f"[{number}/{len(steps)}] {step['title']}: {message or state}"
            elapsed_s = get_elapsed_s(step.get("started_at"), step.get("finished_at"))
            if elapsed_s is not None and state != "running":
                text += f" ({f'{state}, ' if message else ''}{format_duration(elapsed_s)})"
            self._write_once((number, state, message), text)
        if operation["state"] == "succeeded" and not self._headline_written:
            self._headline_written = True  # other results end the command with an error
            messages.write(format_headline(self._name, operation))

    def show_notice(self, text: str) -> None:
        """Write a notice, each text once."""
        self._write_once((text,), text)

    def _write_once(self, key: tuple[object, ...], text: str) -> None:
        if key not in self._written:
            self._written.add(key)
            messages.write(f"{self._name}: {text}")


class LiveDisplay:
    """Renders the newest state ten times per second, so that clocks advance between events."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started_s = time.monotonic()
        self._operation: Operation | None = None
        self._running: tuple[str, float] = ("", self._started_s)
        self._notice = ""
        self.live: Live | None = None

    def show(self, operation: Operation) -> None:
        """Show a state and remove the notice."""
        step = next((s["name"] for s in operation["steps"] if s["state"] == "running"), "")
        if step != self._running[0]:
            self._running = (step, time.monotonic())
        self._operation, self._notice = operation, ""
        if self.live is not None:
            self.live.refresh()

    def show_notice(self, text: str) -> None:
        """Show a notice below the steps until the next state arrives."""
        self._notice = text

    def render(self) -> "Text":
        """Render a headline and one line per step; a constant height keeps it readable."""
        from rich.text import Text

        operation = self._operation
        if operation is None:
            return Text("…")
        lines = [self._render_header(operation)]
        widths = [measure_width(format_one_line(step["title"])) for step in operation["steps"]]
        title_width = max(widths, default=0)
        lines += [self._render_step(step, operation, title_width) for step in operation["steps"]]
        if self._notice and not operation["done"]:
            lines.append(Text(f"  {self._notice}", style="yellow"))
        picture = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
        picture.no_wrap, picture.overflow = True, "ellipsis"
        return picture

    def _render_header(self, operation: Operation) -> "Text":
        from rich.text import Text

        if operation["done"]:
            return Text.assemble(
                _get_mark(operation["state"]),
                " ",
                (format_headline(self._name, operation), "bold"),
            )
        activity = f" {_describe_activity(operation)} {self._name} "
        elapsed = format_duration(time.monotonic() - self._started_s)
        return Text.assemble(
            _get_mark("running"),
            (activity, "bold"),
            (f" {_describe_progress(operation)}{elapsed}", "dim"),
        )

    def _render_step(self, step: dict[str, Any], operation: Operation, title_width: int) -> "Text":
        from rich.text import Text

        title, state = format_one_line(step["title"]), step["state"]
        padding = " " * (title_width - measure_width(title))
        return Text.assemble(
            "  ",
            _get_mark(state),
            " ",
            (title + padding, "dim" if state == "pending" else ""),
            (f"  {self._format_step_time(step):>8}  ", "dim"),
            (_describe_step(step, operation), "red" if state == "failed" else "dim"),
        )

    def _format_step_time(self, step: dict[str, Any]) -> str:
        if step["state"] == "running":  # by the local clock: the server's may differ
            return format_duration(time.monotonic() - self._running[1])
        elapsed_s = get_elapsed_s(step.get("started_at"), step.get("finished_at"))
        return format_duration(elapsed_s) if elapsed_s is not None else ""


def _describe_step(step: dict[str, Any], operation: Operation) -> str:
    """Return a step's message, unless the command ends with the same text as its error."""
    message = step.get("message") or ""
    is_repeated = operation["done"] and message == (operation.get("error") or {}).get("detail")
    return "" if is_repeated else format_one_line(message)


def _describe_activity(operation: Operation) -> str:
    """Return what is in progress; an upgrade with an error is in its automatic rollback."""
    kind = operation["kind"]
    if kind == "upgrade" and operation.get("error"):
        kind = "rollback"
    return _ACTIVITIES.get(kind, str(kind))


def _get_mark(state: str) -> tuple[str, str]:
    if state == "running":
        return _SPINNER_FRAMES[int(time.monotonic() * 10) % len(_SPINNER_FRAMES)], "cyan"
    return _STATE_MARKS.get(state, ("?", ""))


def _describe_progress(operation: Operation) -> str:
    steps = operation["steps"]
    if operation["state"] == "queued":
        awaited = "the next attempt" if operation["attempt"] > 1 else "a worker"
        return f"waiting for {awaited} · "
    done = sum(step["state"] == "succeeded" for step in steps)
    attempt = f"attempt {operation['attempt']} · " if operation["attempt"] > 1 else ""
    return f"step {min(done + 1, len(steps))} of {len(steps)} · {attempt}" if steps else attempt


def format_headline(name: str, operation: Operation) -> str:
    """Describe in one line how an operation ended.

    Args:
        name: The store's name.
        operation: The operation after its end.

    Returns:
        For example `acme is ready (4.2 s)`.
    """
    elapsed_s = get_elapsed_s(operation.get("created_at"), operation.get("finished_at"))
    suffix = f" ({format_duration(elapsed_s)})" if elapsed_s is not None else ""
    if operation["state"] == "succeeded":
        return f"{name} {_RESULTS.get(operation['kind'], 'is done')}{suffix}"
    return f"{get_operation_noun(operation)} of {name} {operation['state']}{suffix}"
