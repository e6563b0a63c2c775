"""The deliverer on a real store and real sockets: nothing is missed, repeats keep their id, nobody waits for another."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.segmentation.webhooks import feed as deliver_feed
from services.segmentation.webhooks.deliveries import Delivery
from services.segmentation.webhooks.dispatch import AT_ONCE
from services.segmentation.webhooks.store import COLLECTIONS, Cursor, DeliverStore, Superseded
from services.segmentation.webhooks.verdicts import Policy
from shared.clock import to_datetime, wall_clock
from shared.events import subscriptions as s
from shared.events.catalog import PARTITIONS
from shared.processing.mongo import connect, ensure_collection
from shared.processing.records import Fetched
from tests.support.deliverers import QUICK, Deliverer, World, eventually, faults, ids
from tests.support.receivers import Behaviour, Call, Receiver, answering, dripping, hanging, rude

pytestmark = pytest.mark.real

CUSTOMERS = [str(UUID(int=number)) for number in range(1, 7)]
ANA, BO = CUSTOMERS[:2]


@pytest.fixture
async def world(mongo: str) -> AsyncIterator[World]:
    client = connect(mongo)
    name = f"deliver_{uuid4().hex[:12]}"
    for collection, indexes in COLLECTIONS.items():
        await ensure_collection(client[name], collection, indexes)
    yield World(client[name])
    await client.drop_database(name)
    client.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(answering(200)) as running:
        yield running


class Running:
    """Starts deliverers and ends them whatever happens."""

    def __init__(self) -> None:
        self.all: list[Deliverer] = []

    async def start(self, world: World, **more: Any) -> Deliverer:
        one = Deliverer(world, f"member-{len(self.all)}", **more)
        self.all.append(one)
        await one.start()
        return one

    async def kill(self, one: Deliverer) -> None:
        self.all.remove(one)
        await one.kill()
        self.all.append(one)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    found = Running()
    yield found
    for one in found.all:
        await one.stop()


async def nothing_waits(deliverer: Deliverer) -> bool:
    rows = await deliverer.store._deliveries.count({})
    return rows == 0 and not deliverer.board.waiting() and not await deliverer.store.cursors({"next": {"$ne": None}})


async def test_each_gets_what_it_wants_from_when_it_subscribed(
    world: World, receiver: Receiver, running: Running
) -> None:
    world.change(ANA)
    await asyncio.sleep(0.01)
    everything = world.subscribe(f"{receiver.url}/all")
    world.subscribe(f"{receiver.url}/value", "value", "lifecycle")
    await running.start(world)
    wanted = [world.change(ANA), world.change(BO, "lifecycle")]
    other = world.change(ANA, "region")
    await eventually("the changes have come", lambda: len(receiver.calls) >= 5)
    gone = world.forget(BO)
    await eventually("all has come", lambda: len(receiver.calls) >= 7)
    by_path = {path: [call for call in receiver.calls if call.path.endswith(path)] for path in ("/all", "/value")}
    assert faults(by_path["/all"], [*wanted, other, gone], world.said) == []
    assert faults(by_path["/value"], [*wanted, gone], world.said) == []
    assert receiver.calls[0].headers["content-type"] == "application/cloudevents+json"
    assert everything


async def test_repeats_keep_id_and_body_and_the_waits_are_kept(world: World, running: Running) -> None:
    answers = iter([500, 302, 404, 200])

    async def behave(reader: Any, writer: Any, call: Call) -> None:
        await answering(next(answers))(reader, writer, call)

    async with Receiver(behave) as receiver:
        world.subscribe(receiver.url)
        deliverer = await running.start(world)
        fired, after = world.change(ANA), world.change(ANA)
        answers = iter([500, 302, 404, 200, 200])
        await eventually("it has come", lambda: len(receiver.calls) == 5)
    assert ids(receiver.calls) == [fired] * 4 + [after]
    assert len({call.body for call in receiver.calls[:4]}) == 1
    assert faults(receiver.calls, [fired, after], world.said) == []
    await eventually("nothing waits", lambda: nothing_waits(deliverer))


async def test_a_dead_and_a_hanging_receiver_delay_nobody(world: World, receiver: Receiver, running: Running) -> None:
    async with Receiver(hanging) as hangs, Receiver(answering(503, "retry-after: 2000")) as busy:
        for url in (hangs.url, busy.url, "http://127.0.0.1:1/", receiver.url):
            world.subscribe(url)
        patient = Policy(waits=QUICK.waits, longest_rest=600_000)
        deliverer = await running.start(world, seconds=300.0, policy=patient)
        fired = [world.change(customer) for customer in CUSTOMERS for _ in range(20)]
        await eventually("the living one has all", lambda: len(receiver.calls) >= len(fired))
        assert faults(receiver.calls, fired, world.said) == []
        assert len(hangs.calls) <= 8
        assert len(busy.calls) <= 8, "it asked for a rest"
        await eventually("its answers are counted", lambda: deliverer.count("again", "503") >= 1)


async def test_one_customer_that_a_receiver_chokes_on_holds_up_no_other(world: World, running: Running) -> None:
    async def behave(reader: Any, writer: Any, call: Call) -> None:
        await answering(500 if ANA.encode() in call.body else 200)(reader, writer, call)

    async with Receiver(behave) as receiver:
        world.subscribe(receiver.url)
        await running.start(world)
        first = world.change(ANA)
        others = [world.change(customer) for customer in CUSTOMERS[1:] for _ in range(5)]
        world.change(ANA)
        await eventually("the others have come", lambda: set(others) <= set(ids(receiver.calls)))
        assert set(ids(receiver.calls)) - set(others) == {first}


async def test_a_receiver_that_was_away_gets_everything_in_order_and_costs_little(
    world: World, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver_feed, "HELD", 10)
    monkeypatch.setattr(deliver_feed, "SLICE", 5)
    away: Behaviour = answering(500)
    back: Behaviour = answering(200)
    async with Receiver(away) as receiver:
        world.subscribe(receiver.url)
        deliverer = await running.start(world)
        fired = [world.change(customer) for _ in range(20) for customer in CUSTOMERS]
        await eventually("it is behind", lambda: any_cursor(deliverer))
        assert await deliverer.store._deliveries.count({}) <= 10 * len(deliverer.board.outgoing)
        fired += [world.change(customer) for customer in CUSTOMERS]
        receiver.behave = back
        done = len(receiver.calls)
        await eventually("all has come", lambda: set(fired) <= set(ids(receiver.calls)))
        await eventually("nothing waits", lambda: nothing_waits(deliverer))
        assert faults(receiver.calls, fired, world.said) == []
        fired.append(world.change(ANA))
        await eventually("it goes with the present", lambda: fired[-1] in ids(receiver.calls))
        successes = ids(receiver.calls[done:])
        assert len(successes) == len(set(successes)), "no crash, so no repeats"


async def any_cursor(deliverer: Deliverer) -> bool:
    return bool(await deliverer.store.cursors({"next": {"$ne": None}}))


async def test_paused_waits_and_resumed_gets_all(world: World, receiver: Receiver, running: Running) -> None:
    name = world.subscribe(receiver.url)
    world.restate(name, receiver.url, paused=True)
    deliverer = await running.start(world)
    fired = [world.change(ANA), world.change(BO)]
    await eventually("both wait", lambda: deliverer.board.waiting() == 2)
    assert receiver.calls == []
    assert [delivery.body for delivery in held(deliverer)] == [None, None], "memory keeps no bodies for later"
    world.restate(name, receiver.url)
    await eventually("both have come", lambda: len(receiver.calls) == 2)
    assert faults(receiver.calls, fired, world.said) == []


def held(deliverer: Deliverer) -> list[Delivery]:
    return [delivery for lanes in deliverer.board.lanes() for lane in lanes._lanes.values() for delivery in lane]


async def test_gone_ends_it_until_it_is_stated_anew_also_over_a_restart(world: World, running: Running) -> None:
    async with Receiver(answering(410)) as receiver:
        name = world.subscribe(receiver.url)
        deliverer = await running.start(world)
        fired = [world.change(customer) for customer in CUSTOMERS]
        await eventually("it is ended", lambda: is_ended(deliverer, name))
        calls = len(receiver.calls)
        await running.kill(deliverer)
        again = await running.start(world)
        fired.append(world.change(ANA))
        await eventually("all wait", lambda: again.board.waiting() == len(fired))
        assert len(receiver.calls) == calls
        receiver.behave = answering(200)
        world.restate(name, receiver.url)
        await eventually("all has come", lambda: nothing_waits(again))
        assert faults(receiver.calls, fired, world.said) == []


async def is_ended(deliverer: Deliverer, name: str) -> bool:
    standings = await deliverer.store.standings()
    return name in standings and deliverer.board.receiver(name).under_way == 0


async def test_attempts_are_counted_over_a_restart_and_come_to_an_end(world: World, running: Running) -> None:
    policy = Policy(waits=(0, 10, 10, 10, 10), spread=0.0)
    async with Receiver(answering(500)) as receiver:
        name = world.subscribe(receiver.url)
        deliverer = await running.start(world, policy=policy)
        world.change(ANA)
        await eventually("two attempts", lambda: len(receiver.calls) >= 2)
        await running.kill(deliverer)
        again = await running.start(world, policy=policy)
        await eventually("it is given up", lambda: nothing_waits(again))
        assert 5 <= len(receiver.calls) <= 6, "an attempt that a crash cut off may not be counted"
        standing = (await again.store.standings())[name]
        assert (standing.given_up, standing.given_up_from > 0) == (1, True)


HOSTILE: dict[str, Callable[[str], Behaviour]] = {
    "500": lambda _home: answering(500),
    "429 + Retry-After": lambda _home: answering(429, "retry-after: 1"),
    "503 + Retry-After": lambda _home: answering(503, "retry-after: 1"),
    "503 + absurd date": lambda _home: answering(503, "retry-after: Mon, 01 Jan 2024 00:00:00 +9999999999999"),
    "302 to loopback": lambda home: answering(302, f"location: {home}"),
    "hang": lambda _home: hanging,
    "huge answer": lambda _home: answering(500, body=b"x" * 5_000_000),
    "no HTTP": lambda _home: rude,
    "drip": lambda _home: dripping,
}
MISBEHAVES = 3
"""Calls that a hostile receiver answers in its own way before it comes to its senses."""


async def test_fault_row_40_hostile_receivers(world: World, running: Running) -> None:
    """Each misbehaves for a while, beside one that answers 410 and one that is well; the table is printed."""
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(Receiver(answering(200)))
        hostile = {
            name: await stack.enter_async_context(Receiver(sobering(make(home.url)))) for name, make in HOSTILE.items()
        }
        gone = await stack.enter_async_context(Receiver(answering(410)))
        well = await stack.enter_async_context(Receiver(answering(200)))
        for receiver in (*hostile.values(), gone, well):
            world.subscribe(receiver.url)
        deliverer = await running.start(world, seconds=4.0)
        fired = [world.change(customer) for customer in CUSTOMERS for _ in range(3)]
        await eventually("whoever is well has all", lambda: len(well.calls) == len(fired))
        for name, receiver in hostile.items():
            await eventually(f"{name} has all", lambda: set(fired) <= set(ids(receiver.calls[MISBEHAVES:])))  # noqa: B023
            assert faults(receiver.calls, fired, world.said) == [], name
        print("\nrow 40 | attempts per delivery, most")
        for name, receiver in hostile.items():
            attempts = Counter(ids(receiver.calls))
            assert max(attempts.values()) >= 2, f"{name} was not seen to misbehave"
            print(f"{name:18} | {len(receiver.calls) / len(fired):.2f}, {max(attempts.values())}")
        assert len(gone.calls) <= AT_ONCE, "410 ends it"
        assert home.connections == 0, "nobody follows a redirection"
        print(
            f"410                | {len(gone.calls)} calls in all, then none\nloopback hits      | {home.connections}"
        )
        owed = len(fired)
        await eventually("only what the one that has gone is owed waits", lambda: deliverer.board.waiting() == owed)


def sobering(behave: Behaviour) -> Behaviour:
    calls = 0

    async def answer(reader: Any, writer: Any, call: Call) -> None:
        nonlocal calls
        calls += 1
        await (behave if calls <= MISBEHAVES else answering(200))(reader, writer, call)

    return answer


async def test_a_large_change_is_sent_whole(world: World, receiver: Receiver, running: Running) -> None:
    world.subscribe(receiver.url)
    deliverer = await running.start(world)
    fired = world.change(ANA, composites=tuple(f"segment-{number}-中文" for number in range(4_000)))
    await eventually("it has come", lambda: len(receiver.calls) == 1)
    assert len(receiver.calls[0].body) > 60_000
    assert faults(receiver.calls, [fired], world.said) == []
    assert deliverer.registry.get_sample_value("guanxi_webhook_large_total") == 1


# Replays


async def test_one_customer_told_again_beyond_a_number(world: World, receiver: Receiver, running: Running) -> None:
    before = [world.change(ANA) for _ in range(4)]
    world.change(BO)
    await asyncio.sleep(0.01)
    name = world.subscribe(receiver.url)
    world.replay(name, of_customer=ANA, after_sequence=1)
    deliverer = await running.start(world)
    await eventually("three have come", lambda: len(receiver.calls) == 3)
    new = world.change(ANA)
    await eventually("and the new one", lambda: len(receiver.calls) == 4)
    await eventually("nothing waits", lambda: nothing_waits(deliverer))
    assert ids(receiver.calls) == [*before[1:], new]


async def test_everything_told_again_since_an_instant_and_only_once_each_time(
    world: World, receiver: Receiver, running: Running
) -> None:
    world.change(ANA)
    await asyncio.sleep(0.02)
    since = wall_clock()
    later = [world.change(customer, "region") for customer in CUSTOMERS]
    await asyncio.sleep(0.02)
    name = world.subscribe(receiver.url)
    deliverer = await running.start(world)
    later.append(world.change(BO))
    await eventually("the newest has come", lambda: nothing_waits(deliverer) if receiver.calls else false())
    del receiver.calls[:]
    world.replay(name, since=to_datetime(since))
    await eventually("all since then", lambda: len(receiver.calls) == len(later))
    await running.kill(deliverer)
    again = await running.start(world)
    new = world.change(ANA)
    await eventually("only the new one", lambda: nothing_waits(again) if new in ids(receiver.calls) else false())
    assert faults(receiver.calls, [*later, new], world.said) == []
    assert len(set(ids(receiver.calls))) == len(later) + 1


async def test_what_was_delivered_this_moment_can_be_told_again(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is still there, about to be removed: the replay's own must not go with it. Step by step."""
    monkeypatch.setattr(deliver_feed, "FRESH", 0)
    name, deliverer = world.subscribe(receiver.url), Deliverer(world)
    fired = world.change(ANA)
    await deliverer.follower.start()
    await deliverer.follower.step()
    deliverer.dispatch.launch()
    await eventually("it is delivered", lambda: len(receiver.calls) == 1 and not deliverer.board.waiting())
    world.replay(name, after_sequence=0)
    await deliverer.follower.step()
    await deliverer.board.remove_delivered(deliverer.store)
    deliverer.dispatch.launch()
    await eventually("it is delivered again", lambda: len(receiver.calls) == 2 and not deliverer.board.waiting())
    assert ids(receiver.calls) == [fired, fired]
    await deliverer.caller.close()


async def false() -> bool:
    return False


async def test_of_an_erased_customer_nothing_old_is_told(world: World, receiver: Receiver, running: Running) -> None:
    for _ in range(3):
        world.change(ANA)
    gone = world.forget(ANA)
    kept = world.change(BO)
    await asyncio.sleep(0.01)
    name = world.subscribe(receiver.url)
    world.replay(name, after_sequence=0)
    deliverer = await running.start(world)
    await eventually("what may be told has come", lambda: len(receiver.calls) == 2)
    await eventually("nothing waits", lambda: nothing_waits(deliverer))
    assert set(ids(receiver.calls)) == {gone, kept}


async def test_an_erased_customer_is_passed_over_also_where_a_subscription_only_catches_up(
    world: World, receiver: Receiver, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver_feed, "HELD", 10)
    monkeypatch.setattr(deliver_feed, "SLICE", 5)
    name = world.subscribe(receiver.url)
    world.restate(name, receiver.url, paused=True)
    deliverer = await running.start(world)
    for _ in range(30):
        world.change(ANA)
    # Its place is kept before what it may hold is there: whoever asked only for that could resume ahead of the erasure.
    await eventually("it holds what it may", lambda: deliverer.board.waiting() == 10)
    await eventually("it is behind", lambda: any_cursor(deliverer))
    gone = world.forget(ANA)
    await eventually("what waited is withdrawn", lambda: deliverer.board.waiting() < 10)
    world.restate(name, receiver.url)
    await eventually("nothing waits", lambda: nothing_waits(deliverer) if receiver.calls else false())
    assert ids(receiver.calls) == [gone]


async def test_what_is_read_only_after_its_customer_was_erased_is_not_told(
    world: World, receiver: Receiver, running: Running
) -> None:
    """As in one batch with the erasure, or again after a crash."""
    world.subscribe(receiver.url)
    for _ in range(3):
        world.change(ANA)
    kept, gone = world.change(BO), world.forget(ANA)
    deliverer = await running.start(world)
    await eventually("nothing waits", lambda: nothing_waits(deliverer) if len(receiver.calls) >= 2 else false())
    assert sorted(ids(receiver.calls)) == sorted([kept, gone])


async def test_what_waits_for_an_erased_customer_is_withdrawn(world: World, running: Running) -> None:
    async with Receiver(answering(500)) as receiver:
        world.subscribe(receiver.url)
        deliverer = await running.start(world)
        for _ in range(3):
            world.change(ANA)
        await eventually("they wait", lambda: deliverer.board.waiting() == 3)
        gone = world.forget(ANA)
        await eventually("only that it was forgotten", lambda: deliverer.board.waiting() == 1)
        receiver.behave = answering(200)
        await eventually("nothing waits", lambda: nothing_waits(deliverer))
        assert ids(receiver.calls)[-1] == gone


async def test_deleted_leaves_nothing_behind(world: World, running: Running) -> None:
    async with Receiver(answering(500)) as receiver:
        name = world.subscribe(receiver.url)
        world.replay(name, after_sequence=0)
        deliverer = await running.start(world)
        world.change(ANA)
        await eventually("it waits", lambda: deliverer.board.waiting() == 1)
        world.state(name, s.SubscriptionDeleted(subscription_id=name))
        await eventually("nothing waits", lambda: nothing_waits(deliverer))
        await eventually("its cursors are gone", lambda: no_cursor(deliverer))


async def no_cursor(deliverer: Deliverer) -> bool:
    return await deliverer.store.cursors({}) == []


# Crashes


@pytest.mark.parametrize("seed", range(3))
async def test_crashes_takeovers_and_bad_receivers_lose_and_reorder_nothing(
    world: World, running: Running, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(deliver_feed, "HELD", 12)
    monkeypatch.setattr(deliver_feed, "SLICE", 6)
    chance = Random(seed)

    async def moody(reader: Any, writer: Any, call: Call) -> None:
        luck = chance.random()
        if luck < 0.02:
            await hanging(reader, writer, call)
        else:
            await answering(chance.choice((500, 429, 404)) if luck < 0.3 else 200)(reader, writer, call)

    async with Receiver(moody) as receiver:
        name = world.subscribe(receiver.url)
        fired: list[str] = []
        for round_ in range(6):
            members = [await running.start(world, seconds=0.3) for _ in range(chance.randint(1, 2))]
            fired += [world.change(chance.choice(CUSTOMERS)) for _ in range(25)]
            if round_ == 3:
                world.replay(name, after_sequence=0)
            await asyncio.sleep(chance.random() * 0.4)
            for member in members:
                await running.kill(member)
        receiver.behave = answering(200)
        last = await running.start(world)
        await eventually("all has come", lambda: set(fired) <= set(ids(receiver.calls)))
        await eventually("nothing waits", lambda: nothing_waits(last))
        assert faults(receiver.calls, fired, world.said) == []


async def test_a_zombie_beside_its_successor_harms_nothing(
    world: World, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears nothing of its end and goes on reading, storing, sending and moving cursors, while it can."""
    monkeypatch.setattr(deliver_feed, "HELD", 10)
    monkeypatch.setattr(deliver_feed, "SLICE", 5)
    async with Receiver(answering(500)) as receiver:
        name = world.subscribe(receiver.url)
        zombie = await running.start(world)
        fired = [world.change(customer) for _ in range(12) for customer in CUSTOMERS]
        await eventually("it is behind", lambda: any_cursor(zombie))
        zombie.reader.deaf = True
        zombie.reader.expire()
        successor = await running.start(world)
        await eventually("its successor has taken over", lambda: len(successor.board.outgoing) == PARTITIONS)
        world.replay(name, after_sequence=3)
        receiver.behave = answering(200)
        fired += [world.change(customer) for _ in range(5) for customer in CUSTOMERS]
        await eventually("all has come", lambda: set(fired) <= set(ids(receiver.calls)))
        await running.kill(zombie)
        await running.kill(successor)
        last = await running.start(world)
        fired += [world.change(customer) for customer in CUSTOMERS]
        await eventually("all has come, also the newest", lambda: set(fired) <= set(ids(receiver.calls)))
        await eventually("nothing waits", lambda: nothing_waits(last))
        assert faults(receiver.calls, fired, world.said) == []


async def test_a_zombie_cannot_say_that_a_subscription_goes_with_the_present(
    world: World, receiver: Receiver, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its present is the past: what came since would be passed over. Step by step, nothing is sent before the end."""
    monkeypatch.setattr(deliver_feed, "HELD", 4)
    monkeypatch.setattr(deliver_feed, "SLICE", 2)
    world.subscribe(receiver.url)
    zombie, successor = Deliverer(world, "zombie"), Deliverer(world, "successor")
    before = [world.change(ANA) for _ in range(20)]
    await zombie.follower.start()
    await zombie.follower.step()
    zombie.reader.deaf = True
    zombie.reader.expire()
    monkeypatch.setattr(zombie.reader, "fetch", nothing_new(zombie))
    await successor.follower.start()
    await successor.follower.step()
    since = [world.change(ANA) for _ in range(10)]
    await successor.follower.step()
    await successor.follower.commit()
    for _ in range(2 * len(before)):
        await drained(zombie)
        await zombie.follower.step()
    successor.reader.expire()
    await running.start(world)
    await eventually("nothing since then is missing", lambda: set(since) <= set(ids(receiver.calls)))
    await zombie.caller.close()
    await successor.caller.close()


def nothing_new(deliverer: Deliverer) -> Callable[[int, float], Awaitable[Fetched]]:
    async def fetch(_limit: int, _wait: float) -> Fetched:
        return Fetched([], deliverer.reader.epoch())

    return fetch


async def drained(deliverer: Deliverer) -> None:
    """As if all that waits had been delivered."""
    for lanes in deliverer.board.lanes():
        while (delivery := lanes.take(wall_clock())) is not None:
            lanes.done(delivery)
            await deliverer.store.remove([delivery.id])


async def test_a_change_that_follows_a_subscription_at_once_is_told(
    world: World, receiver: Receiver, running: Running
) -> None:
    """However the reading of the two topics happens to fall."""
    await running.start(world)
    fired = []
    for number in range(10):
        await asyncio.sleep(0.013 * number)
        world.subscribe(f"{receiver.url}/{number}")
        fired.append(world.change(ANA))
    await eventually("each has what came after it", lambda: len(receiver.calls) >= 55)
    for number in range(10):
        mine = [call for call in receiver.calls if call.path.endswith(f"/{number}")]
        assert set(fired[number:]) <= set(ids(mine))


async def test_whoever_lost_a_partition_moves_no_cursor_of_it(world: World) -> None:
    store = DeliverStore(world.database)
    mine = await store.save_cursor(Cursor("s", 3, next=5))
    assert await store.take_over(3) != [mine]
    with pytest.raises(Superseded):
        await store.save_cursor(mine)
    assert [cursor.next for cursor in await store.cursors({})] == [5]
    assert QUICK.waits[0] == 0
