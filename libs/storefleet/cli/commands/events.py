"""`storefleet events`: what happens, as it happens."""

import contextlib
from typing import Annotated, Any

import typer

from storefleet.cli.cli_errors import Interrupted
from storefleet.cli.command import PLAIN_FORMATS, CommandContext, command
from storefleet.cli.formatting import sanitize_text
from storefleet.cli.output import format_json, format_yaml, messages, write_data

app = typer.Typer(help="Follow the feed of events.", no_args_is_help=True)


@command(app, "tail", formats=PLAIN_FORMATS)
def tail_events(
    cli: CommandContext,
    after: Annotated[
        int | None,
        typer.Option(
            "--after", metavar="SEQ", min=0, max=2**63 - 1, help="Begin after this event."
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Only of this store, name or id.")
    ] = None,
) -> None:
    """Print events until Ctrl-C, one a line; continues after a cut where it was, and prints none twice."""
    import asyncio

    last = EventTail(cli, store)
    try:
        asyncio.run(last.run(after))
    except KeyboardInterrupt:
        where = f" --after {last.seq}" if last.seq is not None else ""
        raise Interrupted(
            "Stopped.", code="interrupted", next_step=f"storefleet events tail{where}"
        ) from None


class EventTail:
    """Prints the frames that are wanted; `seq` is the last one seen."""

    def __init__(self, cli: CommandContext, store: str | None) -> None:
        self._cli = cli
        self._store = store
        self._is_disconnected = False
        self.seq: int | None = None

    async def run(self, after: int | None) -> None:
        from storefleet.cli.event_stream import EventStream  # brings aiohttp

        stream = EventStream(
            self._cli.access, after=after, on_connection_change=self._report_connection
        )
        async with contextlib.aclosing(stream.read_frames()) as frames:
            async for frame in frames:
                self.seq = frame["seq"]
                self._print_frame(frame)

    def _report_connection(self, live: bool, why: str) -> None:
        if live and self._is_disconnected:
            messages.write("Connected again.")
        elif live:
            messages.write_debug("events: connected")
        elif not self._is_disconnected:
            messages.write(f"The line was cut ({why}); trying again …")
        self._is_disconnected = not live

    def _print_frame(self, frame: dict[str, Any]) -> None:
        if frame.get("type") == "reset":
            messages.write(f"Older events are not kept any more; going on after {frame['seq']}.")
            if self._cli.writer.output_format == "table":
                return
        elif self._store and self._store not in (frame.get("store_id"), _get_store_name(frame)):
            return
        if self._cli.writer.output_format == "json":
            write_data(format_json(frame, indent=None))
        elif self._cli.writer.output_format == "yaml":
            write_data(f"---\n{format_yaml(frame)}")
        else:
            write_data(format_event(frame))


def _get_store_name(frame: dict[str, Any]) -> str:
    return str(((frame.get("data") or {}).get("store") or {}).get("name") or "")


def format_event(frame: dict[str, Any]) -> str:
    """`seq  time  type  store  text`."""
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
    if frame.get("type") != "store.step":
        return ""
    position = next(
        (
            number
            for number, step in enumerate(steps, start=1)
            if step["state"] in ("running", "failed", "cancelled")
        ),
        len(steps),
    )
    step = steps[position - 1] if steps else {"title": "", "message": ""}
    message = f": {step['message']}" if step.get("message") else ""
    return f"[{position}/{len(steps)}] {step['title']}{message}"
