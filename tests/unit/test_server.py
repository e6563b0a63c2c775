"""HTTP beside a worker in one loop: takes requests, finishes them when told to go, frees its port."""

import asyncio
import socket

import httpx
import pytest
from fastapi import FastAPI

from shared.web.server import listen, port_of, serve_on


async def test_a_request_under_way_is_answered_after_the_cancellation() -> None:
    app, entered, finish = FastAPI(), asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        entered.set()
        await finish.wait()
        return "done"

    bound = listen("127.0.0.1", 0)
    port = port_of(bound)
    serving = asyncio.create_task(serve_on(app, bound))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        request = asyncio.create_task(client.get("/slow"))
        await asyncio.wait_for(entered.wait(), 5)
        serving.cancel()
        await asyncio.sleep(0)
        finish.set()
        assert (await asyncio.wait_for(request, 5)).json() == "done"
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(serving, 5)
    listen("127.0.0.1", port).close()


def test_the_second_process_of_a_service_takes_any_free_port() -> None:
    with listen("127.0.0.1", 0) as first:
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", port_of(first))
        with listen("127.0.0.1", port_of(first), or_any=True) as second:
            assert isinstance(second, socket.socket)
            assert port_of(second) not in (0, port_of(first))


async def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    """Head and body are two writes: with Nagle's algorithm on, the second waits 40 ms for a delayed acknowledgement."""
    undelayed: asyncio.Queue[int] = asyncio.Queue()

    async def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        undelayed.put_nowait(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    bound = listen("127.0.0.1", 0)
    async with await asyncio.start_server(accepted, sock=bound):
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(bound))
        assert await asyncio.wait_for(undelayed.get(), 5)
        writer.close()
