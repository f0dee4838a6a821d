"""The stand-in server of all simulated stores: one page with the given texts, on any address.

`python -m tests.bench.standin PORT TEXT …`, inside the node's network.
"""

import asyncio
import sys
from html import escape

_LONGEST = 64 << 10


def page(texts: list[str]) -> bytes:
    """A whole answer; the connection ends with it."""
    body = "".join(f"<p>{escape(text)}</p>" for text in texts).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def serve(port: int, texts: list[str]) -> None:
    answer = page(texts)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks asks again
        finally:
            writer.close()

    server = await asyncio.start_server(greet, "0.0.0.0", port, backlog=1024, limit=_LONGEST)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2:]))
