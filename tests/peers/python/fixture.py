"""A server whose tools do what the matrix needs: answer, dawdle, fail, and leave a trace of every execution.

The same tools under two SDKs: FastMCP where it is installed (the modern era), else the one inside `mcp` 1.x (the
legacy era, which also has HTTP+SSE and WebSocket).

    fixture.py stdio
    fixture.py http|sse|websocket PORT
"""

import asyncio
import os
import sys
from typing import Annotated

from pydantic import Field

try:
    from fastmcp import FastMCP
    from fastmcp.exceptions import ToolError
    from mcp.types import ToolAnnotations

    MODERN = True
except ImportError:
    from mcp.server.fastmcp import FastMCP
    from mcp.server.fastmcp.exceptions import ToolError
    from mcp.types import ToolAnnotations

    MODERN = False

server = FastMCP("fixture")


def executed(tool: str) -> None:
    """Leaves a trace: a write that ran twice is two lines."""
    if path := os.environ.get("EXECUTED"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(tool + "\n")


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def echo(text: str) -> str:
    """Says what it was told."""
    return text


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
async def slow(seconds: Annotated[float, Field(ge=0, le=60)]) -> str:
    """Leaves its trace, then takes its time."""
    executed("slow")
    await asyncio.sleep(seconds)
    return "at last"


@server.tool()
def write(text: str) -> str:
    """Leaves its trace."""
    executed("write")
    return f"wrote {text}"


@server.tool()
def fail(reason: str) -> str:
    """Fails for the reason it is given."""
    raise ToolError(reason)


def websocket(port: int) -> None:
    """Each connection is a session of its own."""
    import uvicorn
    from mcp.server.websocket import websocket_server
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    inner = server._mcp_server

    async def serve(socket: WebSocket) -> None:
        async with websocket_server(socket.scope, socket.receive, socket.send) as (read, write):
            await inner.run(read, write, inner.create_initialization_options())

    app = Starlette(routes=[WebSocketRoute("/ws", serve)])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def main() -> None:
    transport = sys.argv[1]
    if transport == "stdio":
        server.run(transport="stdio")
        return
    port = int(sys.argv[2])
    if transport == "websocket":
        websocket(port)
    elif MODERN:
        server.run(transport=transport, host="127.0.0.1", port=port)
    else:
        server.settings.host, server.settings.port = "127.0.0.1", port
        server.run(transport={"http": "streamable-http", "sse": "sse"}[transport])


main()
