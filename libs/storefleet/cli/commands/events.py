"""`storefleet events`: print events as they happen."""

import contextlib
from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import Interrupted
from storefleet.cli.command import PLAIN_FORMATS, CommandContext, command
from storefleet.cli.formatting import sanitize_text
from storefleet.cli.observed_texts import format_storefront
from storefleet.cli.output import format_json, format_yaml, messages, write_data

app = typer.Typer(help="Follow the event feed.", no_args_is_help=True)


@command(app, "tail", formats=PLAIN_FORMATS)
def tail_events(
    cli: CommandContext,
    after: Annotated[
        int | None,
        typer.Option(
            "--after",
            metavar="SEQ",
            min=0,
            max=2**63 - 1,
            help="Start after this event; by default with the next new one.",
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Only events of this store (name or id).")
    ] = None,
) -> None:
    """Print events until Ctrl-C, one per line, each once; reconnect when necessary."""
    import asyncio

    tail = EventTail(cli, store)
    try:
        asyncio.run(tail.run(after))
    except KeyboardInterrupt:
        position = f" --after {tail.seq}" if tail.seq is not None else ""
        raise Interrupted(
            "Stopped.", code="interrupted", next_step=f"storefleet events tail{position}"
        ) from None


class EventTail:
    """Prints the events of all stores or of one; `seq` is the last number that was received."""

    def __init__(self, cli: CommandContext, store: str | None) -> None:
        self._cli = cli
        self._store = store
        self._is_disconnected = False
        self.seq: int | None = None

    async def run(self, after: int | None) -> None:
        """Print events after `after`, or from now on, until the task is cancelled."""
        from storefleet.cli.event_stream import EventStream  # imports aiohttp

        stream = EventStream(
            self._cli.access, after=after, on_connection_change=self._report_connection
        )
        async with contextlib.aclosing(stream.read_frames()) as frames:
            async for frame in frames:
                self.seq = frame["seq"]
                self._print_frame(frame)

    def _report_connection(self, is_live: bool, reason: str) -> None:
        if is_live and self._is_disconnected:
            messages.write("Connected again.")
        elif is_live:
            messages.write_debug("events: connected")
        elif not self._is_disconnected:
            messages.write(f"The connection was lost ({reason}); reconnecting …")
        self._is_disconnected = not is_live

    def _print_frame(self, frame: dict[str, Any]) -> None:
        output_format = self._cli.writer.output_format
        if frame.get("type") == "reset":
            messages.write(
                f"Older events have been deleted; continuing after event {frame['seq']}."
            )
            if output_format == "table":
                return
        elif self._store and self._store not in (frame.get("store_id"), _get_store_name(frame)):
            return
        if output_format == "json":
            write_data(format_json(frame, indent=None))
        elif output_format == "yaml":
            write_data(f"---\n{format_yaml(frame)}")
        else:
            write_data(format_event(frame))


def _get_store_name(frame: dict[str, Any]) -> str:
    return str(((frame.get("data") or {}).get("store") or {}).get("name") or "")


def format_event(frame: dict[str, Any]) -> str:
    """Format an event as one line: `seq  time  type  store  text`."""
    cells = (
        frame["seq"],
        frame.get("time"),
        f"{frame.get('type'):<18}",
        _get_store_name(frame) or frame.get("store_id"),
        _describe_event(frame),
    )
    return "  ".join(sanitize_text(cell).replace("\n", " ") for cell in cells).rstrip()


def _describe_event(frame: dict[str, Any]) -> str:
    data = frame.get("data") or {}
    store, steps = data.get("store") or {}, (data.get("operation") or {}).get("steps") or []
    if frame.get("type") == "store.ready":
        return str(store.get("url") or "")
    if frame.get("type") == "store.failed":
        return str((store.get("failure") or {}).get("detail") or "")
    if frame.get("type") == "store.observed":
        return format_storefront(store)
    if frame.get("type") != "store.step":
        return ""
    active = (
        number
        for number, step in enumerate(steps, start=1)
        if step["state"] in ("running", "failed", "cancelled")
    )
    position = next(active, len(steps))
    step = steps[position - 1] if steps else {"title": "", "message": ""}
    message = f": {step['message']}" if step.get("message") else ""
    return f"[{position}/{len(steps)}] {step['title']}{message}"
