"""HTTP inside the running loop, beside a worker: starts, serves, and leaves gracefully when its task is cancelled."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

GRACE_SECONDS = 5
BACKLOG = 2_048


class _Server(uvicorn.Server):
    """Signals belong to the process's own frame, which finishes a batch first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int, *, or_any: bool = False) -> socket.socket:
    """A listening socket. `or_any`: any free port when `port` is taken (a second process of a service), else OSError."""
    try:
        return _bound(host, port)
    except OSError:
        if not or_any:
            raise
        return _bound(host, 0)


def port_of(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port


async def serve(app: FastAPI, host: str, port: int) -> None:
    """Until the task is cancelled; requests under way get GRACE_SECONDS. OSError when the port is taken."""
    await serve_on(app, listen(host, port))


async def serve_on(app: FastAPI, bound: socket.socket) -> None:
    """As `serve`, on a socket from `listen`, whose port is then known beforehand. Closes the socket."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
    finally:
        bound.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio turns Nagle's algorithm off only for connections whose protocol says TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
