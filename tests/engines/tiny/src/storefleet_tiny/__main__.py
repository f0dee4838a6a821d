"""`template` fills an empty database; `serve` shows what is in it."""

import asyncio
import html
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg

Config = dict[str, Any]


def log(event: str, **more: object) -> None:
    ids = {
        "store_id": os.environ.get("STORE_ID"),
        "operation_id": os.environ.get("STORE_OPERATION_ID"),
    }
    print(json.dumps({"event": event, **ids, **more}), flush=True)


async def connect(config: Config) -> "asyncpg.Connection[asyncpg.Record]":
    target = config["database"]
    return await asyncpg.connect(
        host=target["host"],
        port=target["port"],
        user=target["user"],
        password=target["password"],
        database=target["name"],
        timeout=5,
    )


async def fill(config: Config) -> None:
    """The template: safe to run again, whatever an earlier run had done."""
    connection = await connect(config)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS products (id integer PRIMARY KEY, title text NOT NULL)"
        )
        await connection.execute(
            "INSERT INTO products VALUES (1, 'Tiny teapot') ON CONFLICT DO NOTHING"
        )
    finally:
        await connection.close()
    Path(config["data_dir"], "seeded").write_text("by the template\n", encoding="utf-8")
    log("template_ready")


async def read_product(config: Config) -> str:
    connection = await connect(config)
    try:
        return str(await connection.fetchval("SELECT title FROM products ORDER BY id LIMIT 1"))
    finally:
        await connection.close()


def make_handler(config: Config, loop: asyncio.AbstractEventLoop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages = {"/": self._shop, "/admin/login/": self._sign_in}
            page = pages.get(self.path)
            try:
                status, body = (200, page()) if page else (404, "Not here")
            except (OSError, TimeoutError, asyncpg.PostgresError) as error:
                status, body = 503, f"The database does not answer: {type(error).__name__}"
            content = f"<!doctype html><title>{html.escape(config['name'])}</title><p>{html.escape(body)}</p>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            log(
                "request",
                path=self.path,
                status=status,
                request_id=self.headers.get("X-Request-Id"),
            )

        def _shop(self) -> str:
            product = asyncio.run_coroutine_threadsafe(read_product(config), loop).result(10)
            return f"{config['parameters']['title']}: {product}"

        def _sign_in(self) -> str:
            return "Sign in to Tiny"

        def log_message(self, *args: object) -> None:
            """Requests are logged as JSON above."""

    return Handler


def serve(config: Config) -> None:
    if config["parameters"]["crash"]:
        sys.exit("asked to crash")
    time.sleep(config["parameters"]["delay"])
    loop = asyncio.new_event_loop()
    loop.run_until_complete(read_product(config))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    with Path(config["data_dir"], "starts").open("a", encoding="utf-8") as starts:
        starts.write(f"{os.getpid()}\n")
    server = ThreadingHTTPServer(("127.0.0.1", config["port"]), make_handler(config, loop))
    server.daemon_threads = True
    log("serving", port=config["port"])
    server.serve_forever()


def main() -> None:
    config = json.loads(Path(os.environ["STORE_CONFIG"]).read_text(encoding="utf-8"))
    if sys.argv[1] == "template":
        asyncio.run(fill(config))
    else:
        serve(config)


main()
