"""The stand-in server of all simulated stores: one page with the given texts, on any address.

`python -m tests.bench.standin PORT TEXT …`, inside the node's network.
"""

import asyncio
import sys
from html import escape

_MAX_REQUEST_BYTES = 64 << 10


def make_response(texts: list[str]) -> bytes:
    """Make the complete response; the connection is closed after it."""
    body = "".join(f"<p>{escape(text, quote=False)}</p>" for text in texts).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def serve_page(port: int, texts: list[str]) -> None:
    answer = make_response(texts)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client retries
        finally:
            writer.close()

    server = await asyncio.start_server(
        respond, "0.0.0.0", port, backlog=1024, limit=_MAX_REQUEST_BYTES
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve_page(int(sys.argv[1]), sys.argv[2:]))
