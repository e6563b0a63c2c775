"""One call of a receiver: what it sends, what it makes of hostile answers, and where it refuses to go."""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.segmentation.webhooks import sending
from services.segmentation.webhooks.sending import ENOUGH, Caller, GuardedBackend, Resolve
from services.segmentation.webhooks.verdicts import Answer
from shared.clock import wall_clock
from tests.support.receivers import Behaviour, Receiver, answering, dripping, endless, hanging, rude

BODY = b'{"id": "1"}'
PATIENT = 20.0
"""Seconds for a call whose answer comes: a busy machine may stand still for some of them."""


@asynccontextmanager
async def calling(
    private: bool = True, seconds: float = PATIENT, find: Resolve | None = None, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Caller]:
    more = {} if find is None else {"find": find}
    caller = Caller(wall_clock, private=private, seconds=seconds, trust=trust, **more)
    try:
        yield caller
    finally:
        await caller.close()


async def call(behave: Behaviour, seconds: float = PATIENT) -> tuple[Answer, Receiver]:
    async with Receiver(behave) as receiver, calling(seconds=seconds) as caller:
        return await caller.post(receiver.url, [("webhook-id", "1")], BODY), receiver


async def test_a_call_carries_the_bytes_and_the_headers() -> None:
    answer, receiver = await call(answering(204))
    (seen,) = receiver.calls
    assert (answer, seen.body, seen.path) == (Answer(204), BODY, "/hook")
    assert seen.headers["webhook-id"] == "1"
    assert seen.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("status", [200, 201, 299, 301, 400, 404, 410, 429, 500, 503])
async def test_a_status_is_told_as_it_is(status: int) -> None:
    assert (await call(answering(status)))[0] == Answer(status)


async def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert (await call(answering(429, "Retry-After: 7")))[0].retry_after == 7_000
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 15_000 < ((await call(answering(503, f"retry-after: {soon}")))[0].retry_after or 0) <= 30_000
    for nonsense in (
        "soon",
        "-3",
        "²",
        "",
        "Mon, 01 Jan 2024 00:00:00 +9999999999999",
        "Mon, 01 Jan 2024 00:00:00 +2400",
    ):
        assert (await call(answering(429, f"retry-after: {nonsense}")))[0] == Answer(429)


async def test_a_call_never_raises_not_even_what_nobody_foresaw(monkeypatch: pytest.MonkeyPatch) -> None:
    """One receiver's answer must not end the calls of all the others."""

    async def unforeseen(_response: httpcore.Response) -> None:
        raise ArithmeticError

    monkeypatch.setattr(sending, "_read_a_little", unforeseen)
    assert (await call(answering(200)))[0] == Answer(None, "broken_off")


async def test_a_redirection_is_not_followed() -> None:
    async with Receiver(answering(200)) as other:
        answer, _ = await call(answering(302, f"location: {other.url}"))
        assert (answer, other.connections) == (Answer(302), 0)


@pytest.mark.parametrize("behave", [hanging, dripping])
async def test_whoever_hangs_is_left_in_time(behave: Behaviour) -> None:
    began = time.monotonic()
    answer, _ = await call(behave, seconds=0.4)
    assert answer == Answer(None, "timed_out")
    assert time.monotonic() - began < PATIENT


async def test_an_endless_answer_is_not_read() -> None:
    answer, receiver = await call(endless)
    assert (answer, receiver.connections) == (Answer(200), 1)


async def test_little_of_a_large_answer_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    async def large(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _call: object) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 1000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 10_000)
            await writer.drain()
            written += 10_000

    answer, _ = await call(large)
    assert answer == Answer(500)
    assert written < 20_000_000, "what the sockets' buffers hold, not more"
    assert ENOUGH < 100_000


async def test_what_is_no_http_or_no_port_is_a_failure() -> None:
    assert (await call(rude))[0] == Answer(None, "broken_off")
    async with Receiver(answering(200)) as receiver:
        port = receiver.port
    async with calling() as caller:
        assert await caller.post(f"http://127.0.0.1:{port}/", [], BODY) == Answer(None, "not_connected")
        assert await caller.post("http://nowhere.invalid/", [], BODY) == Answer(None, "not_connected")


# Where it refuses to go


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0"])
async def test_no_way_leads_to_this_machine(host: str) -> None:
    async with Receiver(answering(200)) as receiver, calling(private=False) as caller:
        answer = await caller.post(f"http://{host}:{receiver.port}/", [], BODY)
        assert answer.failure in ("address_refused", "not_connected")
        assert receiver.connections == 0


def finding(*answers: Sequence[str]) -> tuple[Resolve, Callable[[], int]]:
    """A name server that says something else each time."""
    asked = 0

    async def find(_host: str, _port: int) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return answers[min(asked, len(answers)) - 1]

    return find, lambda: asked


@pytest.mark.parametrize("found", [["10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254", "fe80::1%lo"]])
async def test_a_name_that_leads_to_private_addresses_is_refused(found: list[str]) -> None:
    find, asked = finding(found)
    async with calling(private=False, find=find) as caller:
        assert await caller.post("https://example.com/", [], BODY) == Answer(None, "address_refused")
    assert asked() == 1


async def test_a_name_is_asked_for_once_so_it_cannot_lead_elsewhere_afterwards() -> None:
    """The second answer would be another address; the connection goes to the one that was looked at."""
    async with Receiver(answering(200)) as receiver:
        find, asked = finding(["127.0.0.1"], ["10.0.0.1"])
        async with calling(find=find) as caller:
            assert await caller.post(f"http://receiver.example:{receiver.port}/", [], BODY) == Answer(200)
        assert (asked(), receiver.connections) == (1, 1)


async def test_a_public_address_is_taken_where_private_ones_stand_beside_it() -> None:
    tried: list[str] = []

    async def connect(host: str, *_: object) -> httpcore.AsyncNetworkStream:
        tried.append(host)
        raise httpcore.ConnectError

    find, _ = finding(["127.0.0.1", "93.184.216.34"])
    backend = GuardedBackend(find, private=False)
    backend._network.connect_tcp = connect  # type: ignore[method-assign]
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("receiver.example", 443)
    assert tried == ["93.184.216.34"]


async def test_a_name_server_that_hangs_holds_up_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answer = threading.Event()

    def lookup(host: str, _port: int) -> list[str]:
        asked.append(host)
        if host == "slow.example":
            answer.wait(60)
        return ["127.0.0.1"]

    monkeypatch.setattr(sending, "_addresses", lookup)
    async with Receiver(answering(200)) as receiver, calling(seconds=4.0) as caller:
        slow = [caller.post("http://slow.example/", [], BODY) for _ in range(60)]
        waiting = asyncio.gather(*slow)
        while not asked:  # noqa: ASYNC110 - a thread tells
            await asyncio.sleep(0.01)
        assert await caller.post(f"http://other.example:{receiver.port}/", [], BODY) == Answer(200)
        assert set(await waiting) == {Answer(None, "timed_out")}
        answer.set()
    assert asked == ["slow.example", "other.example"]


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and its clients' side of one that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_tls_is_with_the_name_and_not_with_the_address(tmp_path: Path) -> None:
    server, trust = certificate("receiver.example", tmp_path)
    find, _ = finding(["127.0.0.1"])
    async with Receiver(answering(200), server) as receiver, calling(find=find, trust=trust) as caller:
        right = await caller.post(f"https://receiver.example:{receiver.port}/", [], BODY)
        wrong = await caller.post(f"https://other.example:{receiver.port}/", [], BODY)
        assert (right, wrong) == (Answer(200), Answer(None, "not_connected"))
        assert [seen.headers["host"] for seen in receiver.calls] == [f"receiver.example:{receiver.port}"]
