"""However batches are cut, documents evicted and workers restarted, the same log gives the same states and the same bytes."""

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.clock import DAY, MINUTE
from shared.processing.document import Document
from shared.processing.memory_store import MemoryStore
from shared.processing.ports import TransientError
from shared.processing.records import Message
from tests.support.example_domains import Counts, ExampleDomain, Tasks
from tests.support.happenings import START, customer, happened, of_time, poison, purchase, resume, tick
from tests.support.small_world import SmallWorld, settle

WHO = [customer(n) for n in range(4)]

HAPPENING = st.tuples(
    st.sampled_from(
        [
            "purchase",
            "purchase",
            "purchase",
            "inquiry",
            "contact",
            "poison",
            "resume",
            "erase",
            "tick",
            "again",
            "nonsense",
        ]
    ),
    st.integers(0, len(WHO) - 1),
    st.integers(0, 3 * 60),
    st.integers(-30, 0),
)
BRACKET = st.one_of(st.none(), st.tuples(st.integers(0, 20), st.integers(1, 20)))


def story(happenings: list[tuple[str, int, int, int]], bracket: tuple[int, int] | None, service: str) -> list[Message]:
    """Time goes on by minutes; a record may have been recorded before its predecessor was. Inside the bracket the records
    of even customers are old ones."""
    messages: list[Message] = []
    now, old = START, START - 100 * DAY
    for index, (what, number, minutes, lag) in enumerate(happenings):
        now, old = now + minutes * MINUTE, old + minutes * MINUTE
        inside = bracket is not None and bracket[0] <= index < sum(bracket)
        if bracket is not None and index in (bracket[0], sum(bracket)):
            kind = "began" if index == bracket[0] else "ended"
            messages += [of_time(f"history.{kind}", part, now, import_id="x") for part in range(2)]
        mark = "history" if inside and number % 2 == 0 else None
        at = (old if mark else now) + lag * MINUTE
        messages.append(one(what, WHO[number], f"e{index}", at, mark, service, messages))
    return messages + [tick(part, now + DAY // 2) for part in range(2)]


def one(what: str, who: str, name: str, at: int, mark: str | None, service: str, before: list[Message]) -> Message:
    match what:
        case "purchase":
            return purchase(who, name, at, mark=mark)
        case "inquiry":
            return happened(who, "inquiry.received", name, at, mark=mark)
        case "contact":
            return happened(who, "contact.made", name, at, mark=mark, by="staff")
        case "poison":
            return poison(who, name, at, mark=mark)
        case "resume":
            return resume(who, name, at, service)
        case "erase":
            return happened(who, "customer.erased", name, at, receipt_id=name)
        case "nonsense":
            return Message("guanxi.customers.v1", who.encode(), b"{}")
        case "again" if before:
            return before[-1]
    return tick(0, at, mark)


async def told(
    domain: ExampleDomain, messages: list[Message], size: int, cache: int, restarts: int
) -> tuple[dict[str, Any], dict[str, list[bytes]]]:
    """All records are there from the beginning; every `restarts` steps another worker takes over."""
    world = SmallWorld(domain)
    for message in messages:
        world.clock = START + 1_000 * DAY
        world.append(message)
        if domain.service == "followup":
            mirrored(world, message)
    options = {"batch_size": size, "cache": cache}
    for _ in range(len(messages) // restarts if restarts else 0):
        worker = await world.worker(**options)
        for _ in range(restarts):
            await worker.step()
        await world.retire(worker)
    worker = await world.worker(**options)
    await settle(worker)
    return {key: essence(document) for key, document in world.documents().items()}, spoken(world)


def mirrored(world: SmallWorld, message: Message) -> None:
    """The neighbours' ticks: without them the merge would wait for ever."""
    if message.key is None:
        for topic in ("guanxi.segments.v1", "guanxi.feedback.v1"):
            world.append(Message(topic, None, message.value, message.headers, message.partition))


def essence(document: Document) -> dict[str, Any]:
    fields = document.to_fields()
    return {key: value for key, value in fields.items() if key not in ("rev", "outbox", "unsent")}


def spoken(world: SmallWorld) -> dict[str, list[bytes]]:
    found: dict[str, dict[bytes, None]] = {}
    for record in world.records(world.output):
        if record.key is not None:
            found.setdefault(record.key.decode(), {})[record.value or b""] = None
    return {key: list(values) for key, values in found.items()}


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(HAPPENING, min_size=3, max_size=30), BRACKET, st.sampled_from([Counts, Tasks]), st.booleans())
def test_cuts_and_restarts_do_not_show(
    happenings: list[tuple[str, int, int, int]],
    bracket: tuple[int, int] | None,
    kind: type[ExampleDomain],
    mended: bool,
) -> None:
    messages = story(happenings, bracket, kind.service)

    async def compare() -> None:
        whole = await told(kind(mended), messages, 1_000, 100, 0)
        for size, cache, restarts in ((1, 100, 0), (2, 1, 0), (3, 100, 2), (7, 2, 1), (1, 1, 3)):
            assert await told(kind(mended), messages, size, cache, restarts) == whole, (size, cache, restarts)

    asyncio.run(compare())


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(HAPPENING, min_size=3, max_size=25), BRACKET, st.integers(1, 9), st.integers(0, 10))
def test_half_saved_batches_do_not_show(
    happenings: list[tuple[str, int, int, int]], bracket: tuple[int, int] | None, size: int, seed: int
) -> None:
    """Every other write loses its answer after having saved every other document."""
    messages = story(happenings, bracket, Counts.service)

    async def compare() -> None:
        whole = await told(Counts(), messages, 1_000, 100, 0)
        world = SmallWorld(Counts())
        world.append(*messages)
        world.store = store = Halving(seed)  # type: ignore[assignment]
        worker = await world.worker(store=store, batch_size=size)
        await settle(worker)
        documents = {key: essence(document) for key, document in world.documents().items()}
        assert (documents, spoken(world)) == whole

    asyncio.run(compare())


class Halving(MemoryStore):
    def __init__(self, turn: int) -> None:
        super().__init__()
        self._turn_of = turn

    async def save(self, documents: Sequence[Document]) -> bool:
        self._turn_of += 1
        if self._turn_of % 2:
            return await super().save(documents)
        await super().save(documents[self._turn_of % 4 // 2 :: 2])
        raise TransientError("the answer was lost")
