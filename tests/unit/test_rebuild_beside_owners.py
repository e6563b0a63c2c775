"""A rebuild while the service is at work: its owners hold still only for who moved, and whoever did not hold still goes back."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.clock import DAY, HOUR, SECOND, Instant
from shared.processing import rebuild as rebuilding
from shared.processing.heartbeat import Heartbeat
from shared.processing.memory_store import MemoryStore
from shared.processing.ports import FatalError, TransientError
from shared.processing.records import Committed, TopicPartition
from shared.processing.worker import Worker
from tests.support.example_domains import FIRST, Counts
from tests.support.happenings import START, customer, purchase, tick
from tests.support.rebuilding import LiveWorld, MemoryControl, rebuild_of
from tests.support.small_world import METRICS, SmallWorld, settle

PEOPLE = 25
ALICE, BOB = customer(1), customer(2)


class Mended(Counts):
    """Other code for the same rules: its hours last twice as long."""

    def __init__(self) -> None:
        super().__init__(True, HOUR, FIRST)
        self._window *= 2


class Beside:
    """A world whose one worker has a heartbeat, and a rebuild that asks both to move on whenever it looks at them."""

    def __init__(self, world: SmallWorld, worker: Worker, code: Counts) -> None:
        self.world = world
        self.worker = worker
        self.control = MemoryControl(lambda: world.clock)
        self.fresh = MemoryStore()
        self.live = LiveWorld(world, self.control)
        self.control.meanwhile = self.turn
        self._name = "worker"
        self._heart = self._heartbeat()
        self.rebuild = rebuild_of(world, code, self.live, self.control, self.fresh)

    async def turn(self) -> None:
        await self.worker.step()
        await self.beat()

    async def turn_slowly(self) -> None:
        await self.beat()
        await self.step_slowly()

    async def step_slowly(self) -> None:
        """One timer fires at most."""
        self.worker._timers.size = 1
        await self.worker.step()

    async def beat(self) -> None:
        await self._heart.beat()

    async def run(self) -> None:
        await self.rebuild.run(lambda *_: None)
        await self.turn()
        await settle(self.worker)

    async def leaves(self) -> None:
        """What it said last stays: only the group knows that it is gone."""
        self.control.meanwhile = None
        await self.world.retire(self.worker)

    async def buys(self, who: str, name: str) -> None:
        self.world.append(purchase(who, name, START + 9 * HOUR))
        await settle(self.worker)

    def replaced(self) -> None:
        """Another process works there now."""
        self._name = "another"
        self._heart = self._heartbeat()

    def numbers(self, who: str) -> list[int]:
        """As a consumer sees them that has dropped what repeats what it knows."""
        said = {int(event["sequence"]): event for event in self.world.said(who)}
        assert all(event == said[int(event["sequence"])] for event in self.world.said(who)), "one meaning per number"
        return sorted(said)

    def _heartbeat(self) -> Heartbeat:
        clock = self.control._clock
        return Heartbeat(self.worker, self._name, self.control, _no_ends, self._switched, METRICS, clock, "customers")

    def _switched(self, collection: str) -> None:
        self.world.store.__dict__.update(self.fresh.__dict__)


async def _no_ends(partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
    return {}


@asynccontextmanager
async def beside(code: Counts, clock: Instant = START + 1_000 * DAY) -> AsyncIterator[Beside]:
    world = SmallWorld(Counts(mended=True), partitions=1, clock=clock)
    world.append(*(purchase(customer(number), f"e{number}", START) for number in range(PEOPLE)))
    world.append(tick(0, START + 8 * HOUR))
    worker = await world.worker()
    await settle(worker)
    made = Beside(world, worker, code)
    await made.turn()
    yield made
    await world.retire(worker)


async def test_the_owners_hold_still_only_for_who_moved_since_they_were_compared() -> None:
    async with beside(Counts(mended=True)) as at:
        at.live.meanwhile = lambda: at.buys(ALICE, "late")
        before = at.world.said()
        await at.run()
        assert at.control.collection == "customers_2"
        assert sum(at.live.compared_ahead) >= PEOPLE
        assert sum(at.live.compared_still) <= 1
        assert len(at.world.said()) == len(before) + 1, "her purchase, and nothing by the rebuild"
        await at.buys(ALICE, "later")
        assert at.numbers(ALICE) == [1, 2, 3, 4]
        assert (await at.world.document(ALICE)).positions == {"customers:0": PEOPLE + 2}


async def test_what_other_code_says_is_told_once_of_those_who_stood_still_and_of_those_who_moved() -> None:
    async with beside(Mended(), START + 9 * HOUR) as at:
        at.live.meanwhile = lambda: at.buys(ALICE, "late")
        await at.run()
        assert sum(at.live.compared_still) <= 1
        assert at.numbers(BOB) == [1, 2, 3]
        assert at.world.said(BOB)[-1]["data"]["memberships"]["reason"] == "rebuild"
        numbers = at.numbers(ALICE)
        assert numbers == list(range(1, len(numbers) + 1))
        told = [e["sequence"] for e in at.world.said(ALICE) if e["data"]["memberships"].get("reason") == "rebuild"]
        assert len(set(told)) == 1


async def test_where_nobody_works_nothing_is_compared_twice() -> None:
    async with beside(Counts(mended=True)) as at:
        await at.leaves()
        await at.rebuild.run(lambda *_: None)
        assert (at.live.compared_ahead, sum(at.live.compared_still)) == ([], PEOPLE)


async def test_an_owner_that_went_on_goes_back_to_where_the_new_documents_are() -> None:
    """It did not hear of the pause: its process stood still meanwhile, say. What it did then must not be lost."""
    async with beside(Counts(mended=True)) as at:
        switch = at.control.switch

        async def late(*arguments: object) -> None:
            at.worker.paused = False
            await at.buys(BOB, "unheard")
            await switch(*arguments)

        at.control.switch = late
        await at.run()
        await settle(at.worker)
        assert at.numbers(BOB) == [1, 2, 3]
        document = await at.world.document(BOB)
        assert (document.sequence, document.positions) == (3, {"customers:0": PEOPLE + 1})
        await at.buys(BOB, "then")
        assert at.numbers(BOB) == [1, 2, 3, 4]


async def test_where_the_owner_has_changed_everybody_is_compared_again_and_half_a_batch_is_refused() -> None:
    """The one before has written what it did not live to commit."""
    async with beside(Counts(mended=True)) as at:

        async def dies() -> None:
            document = await at.world.document(BOB)
            assert await at.world.store.save([document.replaced(rev=document.rev + 1, positions={"customers:0": 99})])
            at.replaced()

        at.live.meanwhile = dies
        with pytest.raises(FatalError, match="left in the middle"):
            await at.run()
        assert at.control.collection == "customers"
        assert not at.control.holds, "and the others go on at once"


async def test_a_switch_that_could_not_be_read_at_once_is_followed_at_the_next_beat() -> None:
    async with beside(Counts(mended=True)) as at:
        folded, failing = at.control.folded, True

        async def fails_once() -> object:
            nonlocal failing
            if failing:
                failing = False
                raise TransientError("reading the pointer")
            return await folded()

        at.control.folded = fails_once
        await at.rebuild.run(lambda *_: None)
        with pytest.raises(TransientError):
            await at.beat()
        assert at.worker.paused, "it works on neither side before it knows where"
        await at.beat()
        assert not at.worker.paused
        assert at.world.store.__dict__ == at.fresh.__dict__


@pytest.mark.parametrize("broken", ["members", "some"])
async def test_a_rebuild_that_fails_leaves_no_pause_behind(broken: str) -> None:
    async with beside(Counts(mended=True)) as at:
        await at.buys(ALICE, "late")

        async def fails(*_: object) -> None:
            raise TransientError("asking")

        async def pauses() -> None:
            if at.control.holds:
                setattr(at.live, broken, fails)
            await at.turn()

        at.control.meanwhile = pauses
        at.live.meanwhile = lambda: at.buys(ALICE, "later")
        with pytest.raises(TransientError):
            await at.run()
        assert (at.control.holds, at.control.collection) == (False, "customers")


async def test_a_worker_that_has_just_taken_over_holds_still_too() -> None:
    """What is redelivered to it is said together; in a pause no more of it comes, and what it has applied is committed."""
    async with beside(Counts(mended=True)) as at:
        await at.world.retire(at.worker)
        offsets = at.world.log.group("guanxi.segmentation").offsets
        offsets.update(dict.fromkeys(offsets, Committed(0)))
        worker = await at.world.worker(batch_size=5)
        while not worker.owned or not worker.owned[0].uncommitted:
            await worker.step()
        assert worker.owned[0].redelivery is not None
        worker.paused = True
        for _ in range(5):
            await worker.step()
        assert worker.still
        assert (
            (await at.live.stops(0))["guanxi.customers.v1"] == worker.owned[0].applied["guanxi.customers.v1"] < PEOPLE
        )
        await at.world.retire(worker)


async def test_a_worker_that_moves_before_the_switch_is_noticed() -> None:
    async with beside(Counts(mended=True)) as at:
        asked = at.rebuild._settle_rest

        async def lapses() -> None:
            await asked()
            at.control.until = 0

        at.rebuild._settle_rest = lapses
        with pytest.raises(FatalError, match="went on"):
            await at.run()
        assert at.control.collection == "customers"


async def test_a_pause_is_renewed_also_after_the_store_did_not_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "PAUSE_LASTS", 60)
    async with beside(Counts(mended=True)) as at:
        asked: list[int] = []

        async def ask(until: int) -> None:
            asked.append(until)
            if len(asked) == 3:
                raise TransientError("asking for a pause")

        async def slowly() -> None:
            """However long three renewals take, of which one fails."""
            async with asyncio.timeout(20):
                while len(asked) < 4:  # noqa: ASYNC110 - a list tells nobody
                    await asyncio.sleep(0.01)

        at.control.ask_pause = ask
        at.rebuild._settle_rest = slowly
        await at.leaves()
        await at.rebuild.run(lambda *_: None)
        assert len(asked) >= 4


async def test_who_interrupts_the_switch_is_told_that_it_is_done() -> None:
    """The driver's thread does it in any case: whoever read that nothing was changed would be deceived."""
    async with beside(Counts(mended=True)) as at:
        switching, switch = asyncio.Event(), at.control.switch

        async def slowly(*switched: Any) -> None:
            switching.set()
            await asyncio.sleep(0.05)
            await switch(*switched)

        at.control.switch = slowly
        await at.leaves()
        rebuilding_it = asyncio.create_task(at.rebuild.run(lambda *_: None))
        await switching.wait()
        rebuilding_it.cancel()
        assert await rebuilding_it == PEOPLE + 1, "purchases and the tick"
        assert at.control.collection != "customers"


async def test_no_pause_that_was_asked_for_lands_behind_its_end() -> None:
    async with beside(Counts(mended=True)) as at:
        asking, ask = asyncio.Event(), at.control.ask_pause
        threads = set[asyncio.Task[None]]()

        async def in_a_thread(until: int) -> None:
            """As the driver does it: nobody's cancellation reaches it."""
            threads.add(thread := asyncio.create_task(lands(until)))
            asking.set()
            await asyncio.shield(thread)

        async def lands(until: int) -> None:
            if until:
                await asyncio.sleep(0.05)
            await ask(until)

        at.control.ask_pause = in_a_thread
        rebuilding_it = asyncio.create_task(at.rebuild.run(lambda *_: None))
        await asking.wait()
        rebuilding_it.cancel()
        await asyncio.wait({rebuilding_it})
        await asyncio.gather(*threads)
        assert rebuilding_it.cancelled()
        assert not at.control.holds


async def test_a_worker_is_not_still_before_its_last_batch_is_committed() -> None:
    async with beside(Counts(mended=True)) as at:
        commit, failing = at.worker._ports.reader.commit, True

        async def sometimes(positions: object) -> bool:
            return False if failing else await commit(positions)

        at.worker._ports.reader.commit = sometimes
        await at.buys(BOB, "uncommitted")
        at.worker.paused = True
        await at.worker.step()
        assert not at.worker.still
        failing = False
        await at.worker.step()
        assert at.worker.still


# Timers move nobody's positions


async def ripens(at: Beside) -> None:
    """Everybody buys again, time jumps, and the timers that it brings fire one in a turn: not all of them have."""
    for number in range(PEOPLE):
        at.world.append(purchase(customer(number), f"again{number}", START + 20 * HOUR))
    await settle(at.worker)
    at.world.append(tick(0, START + 30 * HOUR))
    while at.worker.owned[0].overdue() is None:
        await at.step_slowly()
    await at.step_slowly()
    assert at.worker.owned[0].overdue() is not None


async def test_a_worker_is_not_still_before_its_timers_that_have_come_have_fired() -> None:
    """The rebuilt documents say that they have, and nobody would tell it."""
    async with beside(Counts(mended=True)) as at:
        await ripens(at)
        at.control.meanwhile = at.turn_slowly
        await at.run()
        assert at.control.collection == "customers_2"
        assert all(at.numbers(customer(number)) == [1, 2, 3, 4] for number in range(PEOPLE))
        assert "rebuild" not in {event["data"]["memberships"]["reason"] for event in at.world.said()}


async def test_a_paused_worker_fires_what_has_come_and_takes_nothing_new() -> None:
    async with beside(Counts(mended=True)) as at:
        await ripens(at)
        at.world.append(purchase(BOB, "new", START + 31 * HOUR))
        at.worker.paused = True
        await settle(at.worker)
        assert at.worker.still
        assert (await at.world.document(BOB)).positions == {"customers:0": PEOPLE + 1 + 2}


@pytest.mark.parametrize("code", [Counts(mended=True), Mended()], ids=["same", "other"])
async def test_who_has_a_timer_before_the_pause_is_compared_in_it(code: Counts) -> None:
    """The replay fires it ahead of the worker, or the other way round; positions are the same all the while."""
    async with beside(code) as at:
        await ripens(at)

        async def fires_the_rest_in_the_pause() -> None:
            if at.control.holds:
                await settle(at.worker)
            await at.beat()

        at.control.meanwhile = fires_the_rest_in_the_pause
        await at.run()
        for number in range(PEOPLE):
            at.world.append(purchase(customer(number), f"then{number}", START + 31 * HOUR))
        await settle(at.worker)
        for number in range(PEOPLE):
            numbers = at.numbers(customer(number))
            assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("clock", [START + 1_000 * DAY, START + 23 * HOUR], ids=["long ago", "now"])
async def test_who_has_fired_ahead_of_the_replay_is_compared_in_the_pause(clock: Instant) -> None:
    """Two timers between what the replay has read and what is compared with it: from the middle of them nothing goes on."""
    async with beside(Counts(mended=True), clock) as at:
        for hour in (20, 22):
            at.world.append(purchase(BOB, f"at{hour}", START + hour * HOUR))
        await settle(at.worker)
        stops, asked = at.live.stops, 0

        async def stops_and_then_time_goes_on(partition: int) -> Mapping[str, int]:
            nonlocal asked
            asked += 1
            found = await stops(partition)
            if asked == 2:
                at.world.clock += 40 * HOUR
                at.world.append(tick(0, START + 40 * HOUR))
                await settle(at.worker)
            return found

        at.live.stops = stops_and_then_time_goes_on
        await at.run()
        assert at.control.collection == "customers_2"
        assert "rebuild" not in {event["data"]["memberships"]["reason"] for event in at.world.said()}
        assert (await at.world.document(BOB)).renumbered is None
        assert [event["data"]["memberships"]["count"] for event in at.world.said(BOB)][2:] == ["1", "2", "1", "0"]


async def test_where_time_jumps_past_all_that_was_looked_at_everybody_is_compared_again() -> None:
    async with beside(Counts(mended=True)) as at:

        async def jumps() -> None:
            at.world.clock += 2 * HOUR
            at.world.append(tick(0, at.world.clock))
            await settle(at.worker)

        at.live.meanwhile = jumps
        await at.run()
        assert sum(at.live.compared_still) == PEOPLE


# Who has not heard of the pause


async def test_a_worker_that_opened_its_database_before_the_switch_goes_on_in_the_new_collection() -> None:
    async with beside(Counts(mended=True)) as at:
        await at.control.switch("customers_2", {})
        at.replaced()
        await at.beat()
        assert at.world.store.__dict__ == at.fresh.__dict__


@pytest.mark.parametrize("ever_said", [True, False])
async def test_nothing_is_switched_under_a_batch_in_hand_however_long_nobody_heard_of_it(
    monkeypatch: pytest.MonkeyPatch, ever_said: bool
) -> None:
    """Its save hangs, so it says nothing; it is in the group all the while and will commit."""
    monkeypatch.setattr(rebuilding, "PAUSE_WITHIN", 1)
    async with beside(Counts(mended=True)) as at:
        at.world.clock += 6 * SECOND
        at.control.meanwhile = None
        if not ever_said:
            at.control.said.clear()
        with pytest.raises(FatalError, match="hold still"):
            await at.run()
        assert (at.control.collection, at.control.holds) == ("customers", False)
