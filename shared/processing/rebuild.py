"""State made anew from the log, beside the live one, and switched in while the owners hold still for a moment."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from shared.clock import HOUR, SECOND, Clock, Instant
from shared.ending import to_its_end
from shared.processing.control import PAUSE_LASTS, ControlStore
from shared.processing.document import Document
from shared.processing.domain import Domain, Successive
from shared.processing.emission import Cause
from shared.processing.ports import FatalError, LogScanner, Store, TransientError
from shared.processing.replay import Replay
from shared.processing.succession import difference, numbered
from shared.processing.versions import VersionStore

Report = Callable[[str, int, int], None]
"""Called with the phase, the partition just done and how many records were applied in all."""

OTHER = "another rebuild writes to the same collection; nothing was changed. Let that one end, then try again"
PAGE = 1_000
PAUSE_WITHIN = 30
"""Seconds that the owners may take to hold still; a batch in hand is finished first."""
FEW = 2_000
"""Customers left to compare for which the owners may well be asked to hold still."""
ROUNDS = 10
"""How often those that moved meanwhile are compared again first; a busy service may never come down to few."""
AHEAD = 1 * HOUR
"""For how long a comparison made ahead holds: whose timers may come before that is compared in the pause."""


class Live(Protocol):
    """What the rebuilt state is compared with."""

    async def stops(self, partition: int) -> Mapping[str, int]:
        """Per topic the offset up to which the service has committed."""

    def all(self, partition: int) -> AsyncIterator[list[Document]]:
        """Page by page."""

    async def members(self) -> int:
        """How many workers the group counts. Whoever is not among them can commit nothing any more."""

    async def some(self, customer_ids: Collection[str]) -> Mapping[str, Document]: ...


class Rebuild:
    """`fresh` writes to the collection `name`, which nobody else knows yet. Publishes nothing."""

    def __init__(
        self,
        first: Domain[Any],
        scanner: LogScanner,
        topics: tuple[str, ...],
        partitions: int,
        live: Live,
        control: ControlStore,
        fresh: Store,
        versions: VersionStore,
        name: str,
        clock: Clock,
    ) -> None:
        self._replays = [Replay(first, scanner, topics, number) for number in range(partitions)]
        self._live = live
        self._control = control
        self._fresh = fresh
        self._versions = versions
        self._name = name
        self._clock = clock
        self._unsettled: dict[int, set[str]] = {}
        """Of the partitions that were compared ahead: who must be compared again."""
        self._owners: dict[int, str] = {}
        """Who was at work there all the while."""
        self._holds_until: dict[int, Instant] = {}
        """Up to which instant nobody who was settled ahead has a timer, by the partition's time."""
        self._asked: Instant = 0

    async def run(self, report: Report) -> int:
        """Records applied. FatalError when the owners do not hold still; then nothing was changed."""
        await self._catch_up("history", range(len(self._replays)), report)
        await self._settle_ahead(report)
        try:
            await self._pause()
            await self._come_up(report)
        except BaseException:
            await self._control.ask_pause(0)
            raise
        positions = {n: replay.positions() for n, replay in enumerate(self._replays)}
        with suppress(asyncio.CancelledError):  # too late: it is switched, and whoever asked is told so
            await to_its_end(self._control.switch(self._name, positions))
        return sum(replay.applied for replay in self._replays)

    async def _come_up(self, report: Report) -> None:
        """To where the owners stand still, as they do until it is done."""
        done = asyncio.Event()
        renewing = asyncio.create_task(self._renew(done))
        try:
            await self._catch_up("tail", range(len(self._replays)), report)
            await self._settle_rest()
            if not await self._all_still():
                raise FatalError("a worker went on before the rebuild was done; nothing was changed. Try again")
            await self._keep_versions()
        finally:
            done.set()
            await asyncio.wait({renewing})  # none may land behind what ends the pause
            renewing.exception()  # whether the pause held, those say who were to keep it

    async def _catch_up(self, phase: str, partitions: Iterable[int], report: Report) -> None:
        for number in partitions:
            replay = self._replays[number]
            await replay.advance(await self._live.stops(number))
            if number in self._unsettled:
                self._unsettled[number] |= replay.changed()
            if not await replay.flush(self._fresh):
                raise FatalError(OTHER)
            report(phase, number, sum(one.applied for one in self._replays))

    async def _settle_ahead(self, report: Report) -> None:
        """While the owners work: they will stand still only for those that have moved since. Where nobody works, nobody
        waits either."""
        self._owners = await self._owners_now()
        for _ in range(ROUNDS):
            compared = 0
            for number in sorted(self._owners):
                self._holds_until.setdefault(number, max(self._replays[number].time, self._clock()) + AHEAD)
                await self._catch_up("comparison", [number], report)
                compared += await self._settle(number, still=False)
            if compared <= FEW:
                return

    async def _settle_rest(self) -> None:
        """An owner that is gone may have left a batch in the middle, so that who did not move in the log has moved."""
        now = await self._owners_now()
        for number in range(len(self._replays)):
            late = self._replays[number].time > self._holds_until.get(number, 0)
            if number in self._unsettled and (late or now.get(number) != self._owners[number]):
                del self._unsettled[number]
            await self._settle(number, still=True)

    async def _owners_now(self) -> dict[int, str]:
        if not await self._live.members():
            return {}
        return {entry.partition: entry.worker for entry in await self._control.progress()}

    async def _settle(self, number: int, still: bool) -> int:
        """The published numbering goes on; where other code says something else, the owners will tell the difference.
        How many were compared. `still`: nobody moves."""
        compared, moved = 0, set[str]()
        async for page in self._to_compare(number):
            compared += len(page)
            moved |= await self._continue(number, page, still)
        self._unsettled[number] = moved
        return compared

    async def _to_compare(self, number: int) -> AsyncIterator[list[Document]]:
        if number not in self._unsettled:
            async for page in self._live.all(number):
                yield page
            return
        ids = sorted(self._unsettled[number])
        for start in range(0, len(ids), PAGE):
            yield list((await self._live.some(ids[start : start + PAGE])).values())

    async def _continue(self, number: int, live: list[Document], still: bool) -> set[str]:
        """Who must be compared again: who may be ahead on one side, or have timers before the pause, which move nobody's
        positions."""
        rebuilt = await self._fresh.load([document.id for document in live])
        until = self._holds_until.get(number, 0)
        moved = set() if still else {one.id for one in live if not _rests(one, rebuilt.get(one.id), until)}
        replay = self._replays[number]
        continued = [
            document
            for before in live
            if before.id not in moved
            and (document := continue_from(before, rebuilt.get(before.id), replay)) is not None
        ]
        if continued and not await self._fresh.save(continued):
            raise FatalError(OTHER)
        return moved

    async def _pause(self) -> None:
        self._asked = self._clock() + PAUSE_LASTS
        for _ in range(PAUSE_WITHIN * 10):
            await to_its_end(self._control.ask_pause(self._clock() + PAUSE_LASTS))
            await asyncio.sleep(0.1)
            if await self._all_still():
                return
        await self._control.ask_pause(0)
        raise FatalError(
            "the workers did not hold still within 30 s; nothing was changed. See `guanxi status`, then try again"
        )

    async def _all_still(self) -> bool:
        """Each partition's owner has said that it keeps this very pause. Not who seems gone, by any clock, but who is in
        the group could still commit."""
        if not await self._live.members():
            return True
        keeps = {entry.partition: entry.keeps for entry in await self._control.progress()}
        return all(keeps.get(number, 0) >= self._asked for number in range(len(self._replays)))

    async def _renew(self, done: asyncio.Event) -> None:
        while not done.is_set():
            with suppress(TransientError):  # there are five more times before the pause ends
                await self._control.ask_pause(self._clock() + PAUSE_LASTS)
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_LASTS / SECOND / 6):
                    await done.wait()

    async def _keep_versions(self) -> None:
        """The log knows them all; so does a database that was lost and is made anew."""
        for number, replay in enumerate(self._replays):
            for written, offset in replay.successions:
                await self._versions.began(written, number, offset)
                await self._versions.finished(written.number, number)


def continue_from(live: Document, rebuilt: Document | None, replay: Replay) -> Document | None:
    """The rebuilt document with the live one's numbers, and the difference between them in its outbox; None: as it is.

    FatalError where the live one has seen other records: its owner died between a write and its commit.
    """
    if rebuilt is None or not _saw_the_same(live, rebuilt):
        raise FatalError(
            f"partition {live.partition} was left in the middle of a batch; nothing was changed. "
            "Start the service, wait until `guanxi status` shows no lag, then try again"
        )
    if (live.state, live.sequence, live.unsent) == (rebuilt.state, rebuilt.sequence, False):
        return None
    outbox = live.outbox if live.unsent else ()
    document = rebuilt.replaced(rev=rebuilt.rev + 1, sequence=live.sequence, outbox=outbox, unsent=live.unsent)
    document.renumbered = live.sequence - (rebuilt.sequence - (rebuilt.renumbered or 0))
    at = max(live.at, replay.until(rebuilt))
    domain = replay.domain
    event = difference(domain, live, rebuilt, at, "rebuild") if isinstance(domain, Successive) else None
    if event is None:
        return document
    mark = rebuilt.mark if rebuilt.history is not None else None
    cause = Cause("", f"rebuild:{domain.service}:{live.id}:{at}", None, mark)
    document.renumbered += 1
    return numbered(domain.service, document, event, at, cause)[0]


def _rests(live: Document, rebuilt: Document | None, until: Instant) -> bool:
    """Whether the two saw the same, and neither has a timer before `until`: the live one may yet fire some that the other
    has fired, and may have fired some that the other has not."""
    if rebuilt is None or live.history is not None or not _saw_the_same(live, rebuilt):
        return False
    timers = [document.wake_at for document in (live, rebuilt) if document.wake_at is not None]
    return min(timers, default=until + 1) > max(until, live.at)


def _saw_the_same(live: Document, rebuilt: Document | None) -> bool:
    return rebuilt is not None and rebuilt.positions == live.positions
