"""Calling a receiver: one POST to an address that was looked at, no redirection followed, little of the answer read."""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpcore

from services.segmentation.webhooks.verdicts import Answer
from shared.clock import SECOND, Clock, Instant, to_instant
from shared.web.destinations import is_public

SECONDS = 20.0
"""For the whole call: name, connection, TLS, request, answer."""
ENOUGH = 16 * 1024
"""Bytes of an answer's body that are read, so that a connection can be used again; more ends the connection."""
REST_SECONDS = 2.0
"""For the body of an answer whose status is known."""
CONNECTIONS = 1_000
"""More than there can be calls at once: 100 subscriptions with 8 each. Nobody waits for another's connection."""
AGENT = "Guanxi-Webhooks"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Headers = Sequence[tuple[str, str]]

log = logging.getLogger(__name__)


class AddressRefused(Exception):
    """The name leads to no address that may be called."""


class Names:
    """The addresses of names, as this machine finds them. A name server that does not answer holds a thread for as long as it
    likes: so each name is asked for once at a time, in a thread of its own, for which neither another name nor our end waits."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def find(self, host: str, port: int) -> list[str]:
        """OSError where there are none."""
        key = (host, port)
        if key not in self._asked:
            self._asked[key] = self._ask(key)
        return await asyncio.shield(self._asked[key])

    def _ask(self, key: tuple[str, int]) -> "asyncio.Future[list[str]]":
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[list[str]] = loop.create_future()

        def answer(found: list[str] | OSError) -> None:
            self._asked.pop(key, None)
            if isinstance(found, OSError):
                asked.set_exception(found)
                asked.exception()  # whoever asked may have gone
            else:
                asked.set_result(found)

        def look() -> None:
            found = _addresses_or_error(*key)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(answer, found)

        threading.Thread(target=look, name="names", daemon=True).start()
        return asked


def _addresses_or_error(host: str, port: int) -> list[str] | OSError:
    try:
        return _addresses(host, port)
    except OSError as error:
        return error
    except UnicodeError:
        return OSError("no name")


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a name once, and connects to an address that was looked at: a name cannot lead elsewhere in between."""

    def __init__(self, find: Resolve, *, private: bool) -> None:
        self._find = find
        self._private = private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """TLS, above this, is still with `host`: only the receiver whose name it is can answer."""
        found = await self._find(host, port)
        allowed = [address for address in found if self._private or is_public(address)]
        if not allowed:
            raise AddressRefused("the name leads to private addresses only")
        return await self._network.connect_tcp(allowed[0], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Caller:
    """Connections are kept and shared. `private`: GUANXI_WEBHOOK_ALLOW_PRIVATE."""

    def __init__(
        self,
        clock: Clock,
        *,
        private: bool,
        find: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust or httpcore.default_ssl_context(),
            max_connections=CONNECTIONS,
            keepalive_expiry=30.0,
            network_backend=GuardedBackend(find or Names().find, private=private),
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def post(self, url: str, headers: Headers, body: bytes) -> Answer:
        """Never raises: whatever happens is an answer or the reason why there is none. One receiver ends no other's calls."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(url, headers, body)
        except (TimeoutError, httpcore.TimeoutException):
            return Answer(None, "timed_out")
        except AddressRefused:
            return Answer(None, "address_refused")
        except (httpcore.ConnectError, OSError):
            return Answer(None, "not_connected")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, ValueError):
            return Answer(None, "broken_off")
        except Exception:
            log.exception("a call ended as nobody foresaw")
            return Answer(None, "broken_off")

    async def _post(self, url: str, headers: Headers, body: bytes) -> Answer:
        given = [("host", urlsplit(url).netloc), ("user-agent", AGENT), ("content-length", str(len(body))), *headers]
        async with self._pool.stream("POST", url, headers=given, content=body) as response:
            with suppress(TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
                async with asyncio.timeout(REST_SECONDS):
                    await _read_a_little(response)
            return Answer(response.status, retry_after=_retry_after(response, self._clock()))


async def _read_a_little(response: httpcore.Response) -> None:
    """What was answered is of no interest beyond its status; an answer that does not end soon is left."""
    read = 0
    async for chunk in response.aiter_stream():
        read += len(chunk)
        if read > ENOUGH:
            return


def _retry_after(response: httpcore.Response, now: Instant) -> Instant | None:
    """Seconds or a date; None where it says neither."""
    text = next((value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"), "")
    if text.isascii() and text.isdigit():
        return int(text[:9]) * SECOND
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0, to_instant(moment) - now) if moment.tzinfo is not None else None
