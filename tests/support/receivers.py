"""Receivers of webhooks on a port of this machine: one that behaves as it is told, byte by byte, and remembers who called."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Call"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """`behave` answers each request; connections are closed after it."""

    behave: Behaviour
    tls: ssl.SSLContext | None = None
    calls: list[Call] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            call = await _read(reader)
            self.calls.append(call)
            await self.behave(reader, writer, call)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in head[1:] if line)
    headers = {name.lower(): value for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Call(head[0].split(" ")[1], headers, body)


def answering(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _call: Call) -> None:
        head = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", "connection: close", *headers]
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()

    return behave


async def hanging(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _call: Call) -> None:
    """Takes the request and never says anything; ends when the caller has gone."""
    await reader.read()


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _call: Call) -> None:
    """An answer without an end, as fast as it is read; ends when the caller has gone."""
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _call: Call) -> None:
    """A status line a byte at a time, for ever."""
    for byte in b"HTTP/1.1 200 " + b"O" * 10_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def rude(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _call: Call) -> None:
    """What it says is no HTTP."""
    writer.write(b"220 smtp ready\r\n")
    await writer.drain()
