#!/usr/bin/env python3
"""An MCP server over streamable HTTP (PyPI fastmcp): prints its port, serves until stopped."""

import asyncio
import socket

from cases import pattern
from fastmcp import Context, FastMCP

server = FastMCP("tools", version="1.0")


@server.tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool
async def slow(steps: int, context: Context) -> str:
    """Answers after a while, and says how far it is."""
    for step in range(steps):
        await asyncio.sleep(0.02)
        await context.report_progress(step, steps, f"step {step}")
    return "done: Z\u00fcrich " * 1000


@server.tool
def fail() -> str:
    """Fails."""
    raise ValueError("this tool always fails")


@server.resource("bytes://picture", mime_type="application/octet-stream")
def picture() -> bytes:
    """A resource of bytes."""
    return pattern(50_000)


@server.prompt
def greet(name: str) -> str:
    """Greets."""
    return f"Greet {name}."


async def main():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    await server.run_http_async(transport="streamable-http", show_banner=False, sockets=[listener],
                                host_origin_protection=False, log_level="error")


asyncio.run(main())
