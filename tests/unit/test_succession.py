"""A domain that is succeeded by another version at a record of the log: what is told, when, and what survives."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.clock import HOUR, MINUTE, to_rfc3339
from shared.events.customers import RulesActivated
from shared.processing.document import Document
from shared.processing.failures import IN_A_ROW
from shared.processing.memory import MemoryScanner
from shared.processing.memory_store import MemoryStore
from shared.processing.ports import FatalError
from shared.processing.records import Message, TopicPartition
from shared.processing.replay import Replay
from shared.processing.verify import Verification
from shared.processing.worker import Worker
from tests.support.example_domains import Counts, activated
from tests.support.happenings import START, activation, customer, happened, poison, purchase, tick
from tests.support.small_world import SmallWorld, settle

ALICE, BOB, CAROL = customer(1), customer(2), customer(3)
LONGER = activated(2, 24)
STORY = [
    purchase(ALICE, "a1", START),
    purchase(BOB, "b1", START + HOUR),
    purchase(ALICE, "a2", START + 9 * HOUR),
]
AFTER = [purchase(ALICE, "a3", START + 11 * HOUR), tick(0, START + 40 * HOUR)]


def one_partition(domain: Counts | None = None) -> SmallWorld:
    return SmallWorld(domain or Counts(mended=True), partitions=1)


async def changed_over() -> SmallWorld:
    world = one_partition()
    world.append(*STORY, activation(0, START + 10 * HOUR, LONGER), *AFTER)
    await world.drain()
    return world


async def folded(domain: Counts, world: SmallWorld, stop: int) -> dict[str, Document]:
    """What the log's beginning gives under one version alone."""
    replay = Replay(domain, MemoryScanner(world.log), world.inputs, 0)
    await replay.advance({world.inputs[0]: stop})
    return {document.id: document for document in replay.documents()}


async def test_at_the_record_every_customer_gets_what_the_whole_past_gives_under_the_new_version() -> None:
    world = one_partition()
    world.append(*STORY, activation(0, START + 10 * HOUR, LONGER))
    await world.drain()

    expected = await folded(Counts(True, HOUR, LONGER), world, 4)
    for who in (ALICE, BOB):
        document = await world.document(who)
        assert (document.state, document.wake_at, document.view, document.version) == (
            expected[who].state,
            expected[who].wake_at,
            expected[who].view,
            2,
        )


async def test_the_difference_is_the_next_number_at_the_partitions_time_and_names_its_cause() -> None:
    world = await changed_over()

    alice = world.said(ALICE)

    assert [int(event["sequence"]) for event in alice] == list(range(1, len(alice) + 1))
    [told] = [event for event in alice if event["data"]["memberships"]["reason"] == "rules version 2"]
    assert told["time"] == told["recordedtime"] == to_rfc3339(START + 10 * HOUR)
    assert (told["causationid"], told["inputs"]) == ("rules-2-0", "customers:0:3")
    assert (told["data"]["rules_version"], told["data"]["memberships"]["count"]) == ("2", "2")
    versions = [event["data"]["rules_version"] for event in alice]
    assert versions == sorted(versions), "never a mixture: old before the record, new behind it"
    assert [event["time"] for event in alice] == sorted(event["time"] for event in alice)


async def test_timers_up_to_the_record_fire_under_the_old_version_and_later_ones_under_the_new() -> None:
    world = one_partition()
    world.append(purchase(ALICE, "a1", START), activation(0, START + 8 * HOUR, LONGER), tick(0, START + 40 * HOUR))
    await world.drain()

    told = [(event["time"], event["data"]["rules_version"]) for event in world.said(ALICE)]

    assert told == [
        (to_rfc3339(START), "1"),
        (to_rfc3339(START + 6 * HOUR), "1"),
        (to_rfc3339(START + 8 * HOUR), "2"),
        (to_rfc3339(START + 24 * HOUR), "2"),
    ]


async def test_who_takes_over_behind_the_record_decides_under_the_new_version() -> None:
    world = one_partition()
    world.append(*STORY, activation(0, START + 10 * HOUR, LONGER))
    await world.drain()

    world.append(*AFTER)
    await world.drain()

    assert world.said() == (await changed_over()).said()
    [_, version] = await world.versions.all()
    assert (dict(version.positions), set(version.done), version.number) == ({0: 3}, {0}, 2)


class Dies(MemoryStore):
    """Stands in front of the world's store, and breaks at a given save."""

    def __init__(self, store: MemoryStore, after: int) -> None:
        self._texts, self._documents, self._partitions = store._texts, store._documents, store._partitions
        self._left = after

    async def save(self, documents: Any) -> bool:
        self._left -= 1
        if self._left < 0:
            raise FatalError("killed")
        return await super().save(documents)


@pytest.mark.parametrize("saves", range(5))
async def test_a_worker_that_dies_while_customers_change_over_leaves_nothing_half(
    saves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.processing.handover.CHANGED_AT_ONCE", 1)
    world = one_partition()
    world.append(*STORY)
    await world.drain()
    world.append(purchase(CAROL, "c1", START + 9 * HOUR), activation(0, START + 10 * HOUR, LONGER), *AFTER)
    worker = await world.worker(Dies(world.store, saves))
    try:
        await settle(worker)
    except FatalError:
        await world.retire(worker)
    await world.drain()

    for who in (ALICE, BOB, CAROL):
        said = {int(event["sequence"]): event for event in world.said(who)}
        assert sorted(said) == list(range(1, len(said) + 1))
        assert all(event == said[int(event["sequence"])] for event in world.said(who)), "one meaning per number"
        assert len([e for e in said.values() if e["data"]["memberships"]["reason"] == "rules version 2"]) == 1
    assert (await verdict(world)) == ([], [])


async def verdict(world: SmallWorld) -> tuple[list[str], list[str]]:
    """Customers that a rebuild makes otherwise, and those it could not compare."""

    async def live(number: int) -> AsyncIterator[Document]:
        for document in world.documents().values():
            if document.partition == number:
                yield document

    async def stops(number: int) -> dict[str, int]:
        return {topic: world.log.end(TopicPartition(topic, number)) for topic in world.inputs}

    verification = Verification(world.domain, MemoryScanner(world.log), world.inputs, stops, live)
    await verification.partition(0)
    return verification.verdict.differing, verification.verdict.moving


async def test_a_rebuild_follows_two_successions_and_equals_live() -> None:
    world = one_partition()
    shorter = activation(0, START + 30 * HOUR, activated(3, 2))
    world.append(*STORY, activation(0, START + 10 * HOUR, LONGER), *AFTER[:1], shorter, *AFTER[1:])
    await world.drain()

    assert (await world.document(ALICE)).version == 3
    assert await verdict(world) == ([], [])


async def test_repeated_and_older_activations_mean_nothing() -> None:
    world = await changed_over()
    before = world.said()

    world.append(activation(0, START + 41 * HOUR, LONGER), activation(0, START + 41 * HOUR, activated(1, 1)))
    await world.drain()

    assert world.said() == before
    assert (await world.document(ALICE)).version == 2


async def test_the_erased_are_told_nothing_and_keep_their_numbers() -> None:
    world = one_partition()
    gone = happened(ALICE, "customer.erased", "gone", START + HOUR, receipt_id="r")
    world.append(purchase(ALICE, "a1", START), gone, activation(0, START + 10 * HOUR, LONGER), *AFTER)
    await world.drain()

    document = await world.document(ALICE)
    assert (document.erased, document.state, document.sequence, document.version) == (True, None, 2, 2)


async def test_other_partitions_flow_while_one_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.processing.handover.CHANGED_AT_ONCE", 1)
    world = SmallWorld(Counts(), partitions=2)
    where = {who: world.append(purchase(who, f"{who}1", START))[0][0] for who in map(customer, range(1, 9))}
    held = [who for who, number in where.items() if number == 0]
    free = next(who for who, number in where.items() if number == 1)
    assert len(held) > 2
    await world.drain()
    world.append(activation(0, START + HOUR, LONGER))
    worker = await world.worker()
    while worker.owned.get(0) is None or worker.owned[0].held is None:
        await worker.step()

    world.append(purchase(free, "now", START + HOUR), purchase(held[0], "later", START + 2 * HOUR))
    await worker.step()
    await worker.step()

    assert worker.owned[0].held is not None
    assert len(world.said(free)) == 2
    await settle(worker)
    assert [int(event["data"]["rules_version"]) for event in world.said(held[0])] == [1, 2, 2]


async def test_neighbours_hear_that_a_held_partition_is_only_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else their patience with it would run out, and their order would be that of arrival."""
    monkeypatch.setattr("shared.processing.handover.CHANGED_AT_ONCE", 1)
    world = one_partition()
    world.append(*(purchase(customer(number), f"e{number}", START) for number in range(5)))
    await world.drain()
    world.append(activation(0, START + HOUR, LONGER))
    worker = await world.worker()
    while not (worker.owned and worker.owned[0].held):
        await worker.step()
    before = len(marks(world))
    while worker.owned[0].held:
        world.clock += 700
        await worker.step()
    await settle(worker)

    assert before < len(marks(world)) - 1 <= before + 5
    assert marks(world) == sorted(marks(world))
    assert marks(world)[-2:] == [to_rfc3339(START + HOUR - 1), to_rfc3339(START + HOUR)]


def marks(world: SmallWorld) -> list[str]:
    found = [json.loads(record.value or b"") for record in world.records(world.output) if record.key is None]
    return [event["time"] for event in found]


async def test_a_version_that_parks_everybody_stops_before_it_is_saved() -> None:
    world = one_partition(Counts(mended=True))
    people = [customer(number) for number in range(IN_A_ROW + 5)]
    world.append(*(purchase(who, f"{who}1", START) for who in people))
    world.append(*(poison(who, f"{who}2", START + MINUTE) for who in people))
    await world.drain()
    world.append(activation(0, START + HOUR, activated(2, 5)))
    worker = await world.worker()
    await break_successor(worker)

    with pytest.raises(FatalError, match="bad deploy"):
        await settle(worker)

    assert {document.version for document in world.documents().values()} == {1}


async def break_successor(worker: Worker) -> None:
    """The next version has a mistake that this one has not."""
    worker._domain.succeeded_by = lambda written: Counts(False, HOUR, written)


async def test_a_text_that_this_code_cannot_use_stops_the_partition_before_anything_changes() -> None:
    world = one_partition()
    world.append(*STORY, activation(0, START + 10 * HOUR, RulesActivated(number=2, rules="?", digest="?")), *AFTER)
    before = len(STORY)
    with pytest.raises((FatalError, ValueError)):
        await world.drain()

    assert {document.version for document in world.documents().values()} == {1}
    assert world.log.group("guanxi.segmentation").offsets[TopicPartition(world.inputs[0], 0)].offset == before


async def test_a_state_of_another_version_is_never_decided() -> None:
    world = await changed_over()
    document = await world.document(ALICE)
    await world.store.save([document.replaced(rev=document.rev + 1, version=7)])
    world.append(purchase(ALICE, "a9", START + 41 * HOUR))

    with pytest.raises(FatalError, match="version 7 would be decided by version 2"):
        await world.drain()


async def test_a_file_that_changed_after_the_first_start_is_not_applied(caplog: pytest.LogCaptureFixture) -> None:
    world = one_partition()
    world.append(purchase(ALICE, "a1", START))
    await world.drain()
    world.domain = Counts(True, HOUR, activated(1, 24))
    world.append(tick(0, START + 7 * HOUR))

    with caplog.at_level(logging.WARNING):
        await world.drain()

    assert "guanxi rules activate" in caplog.text
    assert [event["time"] for event in world.said(ALICE)] == [to_rfc3339(START), to_rfc3339(START + 6 * HOUR)]


async def test_customers_inside_a_bracket_change_over_at_its_time() -> None:
    """Whoever is first seen in an import follows the import's own time, and is told so."""
    old = START - 1_000 * HOUR
    world = one_partition()
    world.append(
        purchase(BOB, "b1", START),
        history("history.began", START),
        purchase(ALICE, "a1", old, mark="history"),
        activation(0, START + HOUR, LONGER),
        purchase(ALICE, "a2", old + 7 * HOUR, mark="history"),
        history("history.ended", START + HOUR),
    )
    await world.drain()

    alice = world.said(ALICE)
    assert [(event["time"], event["data"]["memberships"]["count"]) for event in alice] == [
        (to_rfc3339(old), "1"),
        (to_rfc3339(old), "1"),
        (to_rfc3339(old + 7 * HOUR), "2"),
        (to_rfc3339(old + 24 * HOUR), "1"),
        (to_rfc3339(old + 31 * HOUR), "0"),
    ]
    assert [event.get("history") for event in alice[:3]] == [True, True, True]


def history(what: str, at: int) -> Message:
    event = {"specversion": "1.0", "id": what, "source": "guanxi/intake", "type": f"guanxi.{what}.v1"}
    event |= {"time": to_rfc3339(at), "recordedtime": to_rfc3339(at), "data": {"import_id": "i"}}
    return Message("guanxi.customers.v1", None, json.dumps(event).encode(), (), 0)
