"""HTTP/1.1 with as little as possible around it, so that the client is not what is measured."""

import asyncio
import json
from typing import Any, Self


class Connection:
    """One kept-alive connection to a port of this machine; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str | None) -> None:
        self._reader = reader
        self._writer = writer
        self._key = "" if key is None else f"authorization: Bearer {key}\r\n"

    @classmethod
    async def open(cls, port: int, key: str | None = None) -> Self:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(reader, writer, key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body. EOFError or OSError where the server has gone."""
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{self._key}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        lengths = [int(line.removeprefix("content-length:")) for line in lines if line.startswith("content-length:")]
        content = await self._reader.readexactly(lengths[0]) if lengths else b""
        return int(lines[0].split()[1]), content

    async def post(self, path: str, document: Any) -> Any:
        """The answer to what must be accepted; RuntimeError where it is not."""
        status, content = await self.ask("POST", path, json.dumps(document).encode())
        if status >= 300:
            raise RuntimeError(f"POST {path}: {status} {content[:300]!r}")
        return json.loads(content)


async def register(port: int, key: str, names: list[str], at_once: int = 32) -> list[str]:
    """Customer ids of new customers with these external ids, in their order."""
    found: dict[str, str] = {}
    left = iter(names)

    async def some() -> None:
        async with await Connection.open(port, key) as connection:
            for name in left:
                body = {"external_id": {"system": "bench", "id": name}}
                found[name] = (await connection.post("/v1/customers", body))["customer_id"]

    await asyncio.gather(*(some() for _ in range(at_once)))
    return [found[name] for name in names]
