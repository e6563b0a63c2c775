"""The engine on one small service: numbers, timers, parking, erasure, dead letters, takeovers."""

import json
from collections.abc import Sequence

import pytest

from shared.clock import DAY, HOUR, MINUTE, to_rfc3339
from shared.events.catalog import CUSTOMERS, FEEDBACK, SEGMENTS
from shared.events.codec import HEADERS
from shared.processing.document import Document
from shared.processing.memory_store import MemoryStore
from shared.processing.partition_time import PartitionTime
from shared.processing.ports import FatalError, Timer, TransientError
from shared.processing.records import LARGEST_MESSAGE, Committed, Message, TopicPartition
from shared.processing.timers import Timers
from tests.support.example_domains import CASE_DEADLINE, WINDOW, Cases, Counts, Tasks
from tests.support.happenings import START, customer, envelope, happened, of_time, poison, purchase, resume, tick
from tests.support.small_world import SmallWorld, settle

ALICE, BOB, CAROL = customer(1), customer(2), customer(3)


class Gone(BaseException):
    """The process is dead."""


def numbers(events: list[dict[str, object]]) -> list[int]:
    return [int(str(event["sequence"])) for event in events]


async def test_effects_happen_once_and_are_numbered_from_one() -> None:
    world = SmallWorld(Counts())
    world.append(*(purchase(who, f"{who}-{n}", START + n * MINUTE) for n in range(3) for who in (ALICE, BOB)))
    world.append(purchase(ALICE, f"{ALICE}-1", START + HOUR))

    await world.drain()

    for who in (ALICE, BOB):
        assert numbers(world.said(who)) == [1, 2, 3]
        assert (await world.document(who)).view == {"told": 3}


async def test_a_timer_fires_at_its_own_instant_when_the_partitions_time_has_passed_it() -> None:
    world = SmallWorld(Counts(), partitions=1)
    world.append(purchase(ALICE, "a", START), purchase(BOB, "b", START + WINDOW + HOUR))

    await world.drain()

    first, second = world.said(ALICE)
    assert second["time"] == second["recordedtime"] == to_rfc3339(START + WINDOW)
    assert (first["causationid"], second["causationid"]) == ("a", f"timer:segmentation:{ALICE}:{START + WINDOW}")
    document = await world.document(ALICE)
    assert (document.at, document.unsent, document.wake_at) == (START + WINDOW, False, None)


async def test_what_is_said_is_in_the_order_of_its_instants_however_batches_are_cut() -> None:
    orders = []
    for size in (1, 100):
        world = SmallWorld(Counts(), partitions=1)
        world.append(
            purchase(ALICE, "a", START), purchase(BOB, "b1", START + 1), purchase(BOB, "b2", START + 3 * WINDOW)
        )
        await world.drain(batch_size=size)
        orders.append([(event["subject"], event["sequence"]) for event in world.said()])
        times = [event["time"] for event in world.said()]
        assert times == sorted(times)
    assert orders[0] == orders[1]


async def test_timers_of_several_turns_fire_in_the_order_of_their_instants() -> None:
    """A customer of the first turn does not run ahead of those that are left for the next."""
    world = SmallWorld(Counts(), partitions=1)
    world.append(*(purchase(who, f"{who}-{n}", START + n * MINUTE) for n in range(3) for who in (ALICE, BOB, CAROL)))
    await world.drain()
    world.append(tick(0, START + 3 * WINDOW))
    worker = await world.worker()
    worker._timers.size = 1
    await settle(worker)
    times = [event["time"] for event in world.said()]
    assert len(times) == 18
    assert times == sorted(times)


async def test_a_poisoned_customer_waits_with_its_timers_and_resumes_as_if_nothing_had_been() -> None:
    story = [
        purchase(ALICE, "a1", START),
        poison(ALICE, "a2", START + HOUR),
        purchase(BOB, "b1", START + 2 * HOUR),
        purchase(ALICE, "a3", START + WINDOW + HOUR),
        tick(0, START + 3 * WINDOW),
        resume(ALICE, "a4", START + 3 * WINDOW, "segmentation"),
    ]
    broken = SmallWorld(Counts(), partitions=1)
    broken.append(*story[:5])
    await broken.drain()
    parked = (await broken.document(ALICE)).parked
    assert parked is not None
    assert [w.offset for w in parked.waiting] == [1, 3]
    assert numbers(broken.said(ALICE)) == [1]
    assert numbers(broken.said(BOB)) == [1, 2]

    broken.domain = Counts(mended=True)
    broken.append(story[5])
    await broken.drain()

    sound = SmallWorld(Counts(mended=True), partitions=1)
    sound.append(*story)
    await sound.drain()
    mended, never = await broken.document(ALICE), await sound.document(ALICE)
    assert (mended.state, mended.at, mended.sequence, mended.parked) == (never.state, never.at, never.sequence, None)
    assert [(e["time"], e["data"]) for e in broken.said(ALICE)] == [(e["time"], e["data"]) for e in sound.said(ALICE)]


async def test_erasure_keeps_numbers_and_fences_and_nothing_comes_back() -> None:
    world = SmallWorld(Counts(), partitions=1)
    world.append(
        purchase(ALICE, "a1", START),
        happened(ALICE, "customer.erased", "gone", START + HOUR, receipt_id="r1"),
        purchase(ALICE, "a2", START + 2 * HOUR),
        tick(0, START + 3 * WINDOW),
    )

    await world.drain()

    document = await world.document(ALICE)
    assert (document.state, document.view, document.erased, document.wake_at) == (None, {}, True, None)
    assert [(e["type"], int(e["sequence"])) for e in world.said(ALICE)] == [
        ("guanxi.segments.changed.v1", 1),
        ("guanxi.customer.forgotten.v1", 2),
    ]


async def test_an_erased_customer_is_not_parked_by_numbers_that_it_never_applied() -> None:
    """What waited is gone with the customer; the neighbours' next number is then no gap but the end of a story."""
    world = SmallWorld(Tasks(), partitions=1)

    def segment(number: int, at: int, what: str = "segments.changed") -> Message:
        data = {"customer_id": ALICE, "changes": [], "memberships": {}, "rules_version": "1", "receipt_id": "r"}
        event = envelope(what, f"s{number}", at, at, data) | {"source": "guanxi/segmentation", "subject": ALICE}
        event["sequence"] = f"{number:020d}"
        return Message(SEGMENTS.name, ALICE.encode(), json.dumps(event).encode(), HEADERS)

    world.append(
        poison(ALICE, "p", START),
        happened(ALICE, "customer.erased", "gone", START + 5, receipt_id="r"),
        tick(0, START + 100),
        segment(1, START + 2),
        segment(2, START + 8, "customer.forgotten"),
    )
    world.append(Message(FEEDBACK.name, None, tick(0, START + 100).value, HEADERS, 0))

    await world.drain()

    document = await world.document(ALICE)
    assert (document.erased, document.parked, document.applied) == (True, None, {"guanxi/segmentation": 2})


async def test_a_customer_that_only_repeats_itself_keeps_what_is_queried() -> None:
    world = SmallWorld(Counts())
    world.append(purchase(ALICE, "a1", START))
    await world.drain()
    world.append(purchase(ALICE, "a1", START + HOUR))

    await world.drain()

    assert (await world.document(ALICE)).view == {"told": 1}


async def test_what_cannot_be_read_is_set_aside_untouched_or_parks_its_customer() -> None:
    world = SmallWorld(Counts(), partitions=1)
    world.append(
        Message(CUSTOMERS.name, None, b"\xff nonsense", (("x", b"y"),), 0),
        Message(CUSTOMERS.name, ALICE.encode(), b"{}"),
        purchase(BOB, "b", START),
        Message(CUSTOMERS.name, CAROL.encode(), purchase(BOB, "other", START).value),
    )

    await world.drain()

    dead = world.records("guanxi.segmentation.dead-letters.v1")
    assert [record.value for record in dead] == [b"\xff nonsense", purchase(BOB, "other", START).value]
    assert dict(dead[0].headers)["x"] == b"y"
    assert dict(dead[0].headers)["original-offset"] == b"0"
    assert (await world.document(ALICE)).parked is not None
    assert (await world.document(BOB)).parked is None


async def test_what_is_too_large_to_be_set_aside_is_told_and_stops_nobody() -> None:
    """With why and from where it would be more than a message may hold, and the partition would stand still for good."""
    world = SmallWorld(Counts(), partitions=1)
    world.append(
        Message(CUSTOMERS.name, b"k" * 500, b"\xff" * (LARGEST_MESSAGE - 700), (("x", b"y" * 200),), 0),
        purchase(BOB, "b", START),
    )

    await world.drain()

    (dead,) = world.records("guanxi.segmentation.dead-letters.v1")
    told = dict(dead.headers)
    assert (dead.key, dead.value, "x" in told) == (None, None, False)
    assert (told["original-topic"], told["original-partition"], told["original-offset"]) == (
        b"guanxi.customers.v1",
        b"0",
        b"0",
    )
    assert int(told["left-out"]) > LARGEST_MESSAGE
    assert (await world.document(BOB)).parked is None


async def test_a_bad_deploy_stops_before_it_parks_everybody() -> None:
    world = SmallWorld(Counts(), partitions=1)
    world.append(*(poison(customer(n), f"p{n}", START + n) for n in range(30)))

    worker = await world.worker()
    with pytest.raises(FatalError, match="bad deploy"):
        await settle(worker)

    assert world.documents() == {}


async def test_a_store_that_fails_for_a_while_does_not_look_like_a_bad_deploy() -> None:
    """One poisoned record tried thirty times is one failure."""
    world = SmallWorld(Counts(), partitions=1)
    world.append(poison(ALICE, "p", START), tick(0, START + 1))
    world.store = store = Refusing(30)

    worker = await world.worker(store=store)
    await settle(worker)

    assert (await world.document(ALICE)).parked is not None


class Refusing(MemoryStore):
    """Fails the first `times` writes."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def save(self, documents: Sequence[Document]) -> bool:
        self.times -= 1
        if self.times >= 0:
            raise TransientError("away")
        return await super().save(documents)


async def test_time_that_a_vanished_timer_held_back_is_said_in_the_end() -> None:
    """A timer in the heap that the store no longer knows holds back what is said; nothing else will come to correct it."""
    world = SmallWorld(Counts(), partitions=1)
    world.append(tick(0, START))
    worker = await world.worker()
    await settle(worker)
    worker.owned[0].timers.arm(Timer(START + 1, ALICE), None)
    worker.owned[0].timers.arm(Timer(START + 2, BOB), None)
    worker._timers.size = 1
    world.append(tick(0, START + 10))
    await worker.step()
    worker.owned[0].timers = Timers()

    await settle(worker)

    assert json.loads(world.records(world.output)[-1].value or b"")["recordedtime"] == to_rfc3339(START + 10)


async def test_a_timer_of_a_customer_whose_bracket_has_yet_to_begin_again_waits_for_it() -> None:
    """A commit was lost: the records come again from before the bracket, the documents are already inside it."""
    world = SmallWorld(Counts(), partitions=1)
    old = START - 100 * DAY
    world.append(
        tick(0, START),
        of_time("history.began", 0, START, import_id="x"),
        purchase(ALICE, "h1", old, mark="history"),
    )
    await world.drain()
    before = await world.document(ALICE)
    group = world.log.group("guanxi.segmentation")
    group.offsets[TopicPartition(CUSTOMERS.name, 0)] = Committed(0)
    worker = await world.worker(batch_size=1)
    await settle(worker)
    assert (await world.document(ALICE)).history == before.history == 1
    assert len(world.said(ALICE)) >= 1
    assert {e["type"] for e in world.said(ALICE)} == {"guanxi.segments.changed.v1"}
    assert {int(e["sequence"]) for e in world.said(ALICE)} == {1}

    world.append(tick(0, old + WINDOW, mark="history"))
    await settle(worker)

    assert [(e["time"], e.get("history")) for e in world.said(ALICE)][-1] == (to_rfc3339(old + WINDOW), True)


async def test_rules_that_are_activated_concern_no_customer_and_are_no_dead_letter() -> None:
    """They stand without a key in the stream that every service reads."""
    world = SmallWorld(Counts(), partitions=1)
    world.append(of_time("rules.activated", 0, START, number=1, rules="…", digest="…"), purchase(ALICE, "1", START))
    await world.drain()
    assert world.records("guanxi.segmentation.dead-letters.v1") == []
    assert (await world.document(ALICE)).positions == {"customers:0": 1}


async def test_a_commit_that_failed_is_said_again_in_a_quiet_log(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SmallWorld(Counts(), partitions=1)
    worker = await world.worker()
    world.append(purchase(ALICE, "1", START))
    place = TopicPartition(CUSTOMERS.name, 0)
    commit = worker._ports.reader.commit

    async def refused(_positions: object) -> bool:
        raise TransientError("no answer")

    monkeypatch.setattr(worker._ports.reader, "commit", refused)
    await settle(worker)
    assert world.log.group("guanxi.segmentation").offsets[place].offset == 0
    assert not worker.ownership.covered("customers:0:0")
    monkeypatch.setattr(worker._ports.reader, "commit", commit)
    await worker.step()

    assert world.log.group("guanxi.segmentation").offsets[place].offset == 1
    assert worker.ownership.covered("customers:0:0")
    assert worker.owned[0].uncommitted == {}


async def test_an_idle_system_asks_for_no_ticks() -> None:
    """Were a tick asked for because marks of time wait, our neighbours' marks about it would ask again."""
    world = SmallWorld(Tasks(), partitions=1)
    world.clock = START + MINUTE
    for topic in (CUSTOMERS, SEGMENTS, FEEDBACK):
        world.log.append(Message(topic.name, None, tick(0, START).value, HEADERS, 0))
    worker = await world.worker(asks=True)
    for _ in range(50):
        world.clock += 100
        await worker.step()

    assert world.records("guanxi.wakeups.v1") == []


async def test_the_last_ticks_of_a_quiet_hour_wait_for_nothing_of_their_own_time() -> None:
    world = SmallWorld(Tasks(), partitions=1)
    for topic in (FEEDBACK, SEGMENTS, CUSTOMERS):
        world.log.append(Message(topic.name, None, tick(0, START).value, HEADERS, 0))
    worker = await world.worker()
    await settle(worker)

    assert set(worker.owned[0].applied.values()) == {1}


async def test_an_end_of_history_that_neighbours_pass_on_waits_for_nothing_of_its_own_time() -> None:
    world = SmallWorld(Tasks(), partitions=1)
    for kind in ("began", "ended"):
        for topic in (FEEDBACK, SEGMENTS, CUSTOMERS):
            mark = of_time(f"history.{kind}", 0, START, import_id="x")
            world.log.append(Message(topic.name, None, mark.value, HEADERS, 0))
    worker = await world.worker()
    await settle(worker)

    assert set(worker.owned[0].applied.values()) == {2}
    assert worker.owned[0].time.bracket is None


async def test_a_tick_waits_for_what_may_be_earlier() -> None:
    world = SmallWorld(Tasks(), partitions=1)
    for topic, at in ((FEEDBACK, START), (SEGMENTS, START), (CUSTOMERS, START - 1)):
        world.log.append(Message(topic.name, None, tick(0, at).value, HEADERS, 0))
    worker = await world.worker()
    await settle(worker)

    assert worker.owned[0].time.now == START - 1


async def test_several_inputs_are_merged_by_their_times_whoever_came_first() -> None:
    world = SmallWorld(Tasks(), partitions=1)

    def case(number: int, at: int) -> Message:
        data = {"customer_id": ALICE, "case_id": f"c{number}", "kind": "complaint", "severity": "normal"}
        event = envelope("case.opened", f"case-{number}", at, at, data) | {"source": "guanxi/feedback"}
        event |= {"subject": ALICE, "sequence": f"{number:020d}"}
        return Message(FEEDBACK.name, ALICE.encode(), json.dumps(event).encode(), HEADERS)

    worker = await world.worker()
    world.append(case(1, START + 10), case(2, START + 30))
    await settle(worker)
    assert world.said(ALICE) == []
    world.append(happened(ALICE, "inquiry.received", "i1", START + 20), tick(0, START + 40))
    world.append(Message(SEGMENTS.name, None, tick(0, START + 40).value, HEADERS, 0))
    await settle(worker)

    assert [e["causationid"] for e in world.said(ALICE)] == ["case-1", "i1", "case-2"]
    assert world.said(ALICE)[-1]["inputs"] == "customers:0:0,feedback:0:1"


async def test_history_follows_its_own_time_until_the_bracket_ends() -> None:
    world = SmallWorld(Counts(), partitions=1)
    long_ago = START - 300 * DAY
    world.append(
        purchase(BOB, "live", START),
        of_time("history.began", 0, START + 1, import_id="x"),
        purchase(ALICE, "old-1", long_ago, mark="history"),
        purchase(ALICE, "old-2", long_ago + HOUR, mark="history"),
    )
    worker = await world.worker()
    await settle(worker)
    assert [e["time"] for e in world.said(ALICE)] == [to_rfc3339(long_ago), to_rfc3339(long_ago + HOUR)]

    world.append(tick(0, long_ago + WINDOW + 1, mark="history"))
    await settle(worker)
    assert [e["time"] for e in world.said(ALICE)][2:] == [to_rfc3339(long_ago + WINDOW)]

    world.append(of_time("history.ended", 0, START + 2, import_id="x"))
    await settle(worker)
    assert [e["time"] for e in world.said(ALICE)][3:] == [to_rfc3339(long_ago + WINDOW + HOUR)]
    assert [e.get("history") for e in world.said(ALICE)] == [True, True, True, None]
    marks = [json.loads(r.value or b"")["type"] for r in world.records(world.output) if r.key is None]
    assert [m for m in marks if "history" in m] == ["guanxi.history.began.v1", "guanxi.history.ended.v1"]


async def test_the_bracket_survives_a_takeover_whatever_was_committed_last() -> None:
    """Two inputs commit at different moments; equal times must not bring an ended bracket back, nor lose an open one."""
    for ended in (False, True):
        world = SmallWorld(Cases(), partitions=1)
        world.append(of_time("history.began", 0, START, import_id="x"), tick(0, START + 10))
        world.append(Message(SEGMENTS.name, None, tick(0, START).value, HEADERS, 0))
        world.append(Message(SEGMENTS.name, None, tick(0, START + 10).value, HEADERS, 0))
        if ended:
            world.append(of_time("history.ended", 0, START + 10, import_id="x"))
        worker = await world.worker(batch_size=1)
        await settle(worker)
        before = worker.owned[0].time
        await world.retire(worker)
        successor = await world.worker()
        await settle(successor)
        after = successor.owned[0].time
        assert (after.now, after.bracket) == (before.now, before.bracket)
        assert after.bracket == (None if ended else 0)


def test_an_older_commit_of_another_input_does_not_bring_an_ended_bracket_back() -> None:
    """A late record of the customers ended it without moving the time, so the times alone do not tell who is newer."""
    for order in (1, -1):
        time = PartitionTime()
        commits = [(CUSTOMERS.name, '{"t":8,"n":10}'), (SEGMENTS.name, '{"t":10,"n":10,"b":5,"h":3}')]
        for topic, metadata in commits[::order]:
            time.restore(topic, metadata)
        assert (time.now, time.bracket, time.history_now) == (10, None, 0)


async def test_a_takeover_publishes_what_its_predecessor_saved_and_could_not_say() -> None:
    world = SmallWorld(Cases(), partitions=1)
    world.append(happened(ALICE, "feedback.received", "f", START, kind="complaint"), tick(0, START + CASE_DEADLINE))
    world.append(Message(SEGMENTS.name, None, tick(0, START + DAY).value, HEADERS, 0))
    silent = await world.worker()

    async def dead(_messages: object) -> list[tuple[int, int]]:
        raise Gone

    silent._ports.writer.publish = dead  # type: ignore[method-assign]
    with pytest.raises(Gone):
        await settle(silent)
    assert (await world.document(ALICE)).unsent
    world.log.group("guanxi.feedback").leave("member-1")

    await world.drain()

    said = {int(e["sequence"]): e["type"] for e in world.said()}
    assert list(said.items()) == [(1, "guanxi.case.opened.v1"), (2, "guanxi.case.deadline_missed.v1")]
    assert not (await world.document(ALICE)).unsent


async def test_timers_stay_known_when_looking_again_fails_once() -> None:
    world = SmallWorld(Counts(), partitions=1)
    world.append(purchase(ALICE, "a", START))
    worker = await world.worker()
    await settle(worker)
    owned = worker.owned[0]
    armed = len(owned.timers)
    failing = _Failing(world.store)
    with pytest.raises(ConnectionError):
        await owned.look_again(failing)  # type: ignore[arg-type]
    assert len(owned.timers) == armed == 1


class _Failing:
    def __init__(self, store: object) -> None:
        self.store = store

    async def due(self, *_arguments: object) -> None:
        raise ConnectionError


async def test_a_missing_commit_is_said_and_not_guessed() -> None:
    world = SmallWorld(Counts())
    world.log.group("guanxi.segmentation").offsets.pop(TopicPartition(CUSTOMERS.name, 1))
    with pytest.raises(FatalError, match="provision --repair"):
        await world.drain()
