"""An operation on its way, for eyes: a live list of its steps on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from storefleet.cli.formatting import between, duration, one_line, width, work
from storefleet.cli.operation_follower import Display
from storefleet.cli.output import is_lively, messages

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

Operation = dict[str, Any]
_DOING = {
    "create": "Creating",
    "delete": "Deleting",
    "upgrade": "Upgrading",
    "rollback": "Rolling back",
}
_DONE = {
    "create": "is ready",
    "delete": "is deleted",
    "upgrade": "is upgraded",
    "rollback": "is rolled back",
}
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("-", "yellow"),
    "pending": ("·", "dim"),
}


@contextmanager
def display(name: str) -> Iterator[Display]:
    """Choose by what standard error is."""
    if not is_lively():
        yield Lines(name)
        return
    from rich.console import Console
    from rich.live import Live

    picture = Picture(name)
    with Live(
        get_renderable=picture.draw, console=Console(stderr=True), refresh_per_second=10
    ) as live:
        picture.live = live
        yield picture


class Lines:
    """One line when a step ends, and when a running one has something new to say."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: set[tuple[object, ...]] = set()
        self._ended = False

    def show(self, operation: Operation) -> None:
        steps = operation["steps"]
        for number, step in enumerate(steps, start=1):
            state, message = step["state"], one_line(step.get("message") or "")
            if state == "pending" or (state == "running" and not message):
                continue
            took = between(step.get("started_at"), step.get("finished_at"))
            self._once(
                (number, state, message),
                f"[{number}/{len(steps)}] {step['title']}: {message or state}"
                + (
                    f" ({state}, {duration(took)})"
                    if took is not None and state != "running"
                    else ""
                ),
            )
        if operation["done"] and not self._ended:
            self._ended = True
            messages.say(headline(self._name, operation))

    def note(self, text: str) -> None:
        self._once((text,), text)

    def _once(self, key: tuple[object, ...], text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            messages.say(f"{self._name}: {text}")


class Picture:
    """Drawn anew ten times a second from the newest state, so that clocks run between two events."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._operation: Operation | None = None
        self._running: tuple[str, float] = ("", self._began)
        self._note = ""
        self.live: Live | None = None

    def show(self, operation: Operation) -> None:
        step = next((s["name"] for s in operation["steps"] if s["state"] == "running"), "")
        if step != self._running[0]:
            self._running = (step, time.monotonic())
        self._operation, self._note = operation, ""
        if self.live is not None:
            self.live.refresh()

    def note(self, text: str) -> None:
        self._note = text

    def draw(self) -> "Text":
        """As many lines as there are steps, whatever they say: a picture that jumps is hard to read."""
        from rich.text import Text

        operation = self._operation
        if operation is None:
            return Text("…")
        lines = [self._head(operation)]
        longest = max((width(one_line(step["title"])) for step in operation["steps"]), default=0)
        lines += [self._step(step, longest) for step in operation["steps"]]
        if self._note and not operation["done"]:
            lines.append(Text(f"  {self._note}", style="yellow"))
        picture = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
        picture.no_wrap, picture.overflow = True, "ellipsis"
        return picture

    def _head(self, operation: Operation) -> "Text":
        from rich.text import Text

        if operation["done"]:
            return Text.assemble(
                _mark(operation["state"]), " ", (headline(self._name, operation), "bold")
            )
        doing = f" {_doing(operation)} {self._name} "
        elapsed = duration(time.monotonic() - self._began)
        return Text.assemble(
            _mark("running"), (doing, "bold"), (f" {_progress(operation)}{elapsed}", "dim")
        )

    def _step(self, step: dict[str, Any], longest: int) -> "Text":
        from rich.text import Text

        title, state = one_line(step["title"]), step["state"]
        return Text.assemble(
            "  ",
            _mark(state),
            " ",
            (title + " " * (longest - width(title)), "dim" if state == "pending" else ""),
            (f"  {self._took(step):>8}  ", "dim"),
            (one_line(step.get("message") or ""), "red" if state == "failed" else "dim"),
        )

    def _took(self, step: dict[str, Any]) -> str:
        if step["state"] == "running":  # by our clock: the server's may differ
            return duration(time.monotonic() - self._running[1])
        took = between(step.get("started_at"), step.get("finished_at"))
        return duration(took) if took is not None else ""


def _doing(operation: Operation) -> str:
    """What is being done to it; an upgrade with an error to tell is on its way back."""
    kind = (
        "rollback"
        if operation["kind"] == "upgrade" and operation.get("error")
        else operation["kind"]
    )
    return _DOING.get(kind, str(kind))


def _mark(state: str) -> tuple[str, str]:
    if state == "running":
        return _FRAMES[int(time.monotonic() * 10) % len(_FRAMES)], "cyan"
    return _MARKS.get(state, ("?", ""))


def _progress(operation: Operation) -> str:
    steps = operation["steps"]
    if operation["state"] == "queued":
        said = "waits for its next attempt" if operation["attempt"] > 1 else "waits for a worker"
        return f"{said} · "
    done = sum(step["state"] == "succeeded" for step in steps)
    attempt = f"attempt {operation['attempt']} · " if operation["attempt"] > 1 else ""
    return f"step {min(done + 1, len(steps))} of {len(steps)} · {attempt}" if steps else attempt


def headline(name: str, operation: Operation) -> str:
    """How it ended, in a sentence."""
    took = between(operation.get("created_at"), operation.get("finished_at"))
    after = f" ({duration(took)})" if took is not None else ""
    if operation["state"] == "succeeded":
        return f"{name} {_DONE.get(operation['kind'], 'is done')}{after}"
    return f"{work(operation)} of {name} {operation['state']}{after}"
