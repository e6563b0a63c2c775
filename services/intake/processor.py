"""The way in: offers of all waiting requests are identified, written down, claimed together and handed to the publisher."""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from uuid import uuid4

from services.intake.batches import Accepted, Batch, Claim, Entry
from services.intake.domain import Offer
from services.intake.entries import LARGEST, EntryWriter, Later
from services.intake.erasures import Erasures
from services.intake.identities import KnownKeys
from services.intake.limits import LIMITS
from services.intake.publishing import Job, Publisher
from services.intake.refusal import Refusal, Unavailable
from services.intake.store import IntakeStore
from shared.clock import SECOND, Clock, Instant
from shared.ending import together
from shared.privacy import Vault
from shared.processing.ports import FatalError, TransientError

TOGETHER = 1_000
"""Offers that one batch takes at most."""
QUEUED = 20_000
"""Records taken in and not yet acknowledged, above which no more is taken in."""
PATIENCE = 10.0
"""Seconds that a request waits before it is told that the outcome is unknown."""
ATTEMPTS = 8
FORSAKEN = 60 * SECOND
"""A batch that its owner has not had acknowledged for so long is sent by whoever finds it."""
LOOK_AGAIN = 15.0

log = logging.getLogger(__name__)
Answer = Accepted | Refusal


@dataclass(slots=True, eq=False)
class Waiting:
    """`offer`: an Entry where there is nothing to decide (marks of time)."""

    offer: Offer | Entry
    answer: asyncio.Future[Answer]
    until: float
    attempts: int = 0

    def resolve(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Intake:
    """One process's way in. `submit` may be called by any number of requests; order per customer is that of the calls."""

    def __init__(
        self,
        store: IntakeStore,
        publisher: Publisher,
        entries: EntryWriter,
        known: KnownKeys,
        vault: Vault,
        clock: Clock,
        patience: float = PATIENCE,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._entries = entries
        self._known = known
        self._vault = vault
        self._clock = clock
        self._patience = patience
        self.erasures = Erasures(store, known, clock)
        self._owner = str(uuid4())
        self._number = 0
        self._waiting: deque[Waiting] = deque()
        self._patient: deque[Waiting] = deque()
        self._open: dict[str, Waiting] = {}
        self._work = asyncio.Event()
        self._unsure = True
        self._followers: set[asyncio.Task[None]] = set()
        self.ready = False

    async def submit(self, offers: Sequence[Offer | Entry]) -> list[Answer]:
        """One answer per offer, in order. An Unavailable among them: unknown, safe to send again."""
        if not offers:
            return []
        if len(self._waiting) + self._publisher.queued + len(offers) > QUEUED:
            return [Unavailable("The buffers are full; send it again later.")] * len(offers)
        waiting = [self._enqueue(offer) for offer in offers]
        self._work.set()
        return [await one.answer for one in waiting]

    def _enqueue(self, offer: Offer | Entry) -> Waiting:
        """The same id again while the first is under way shares its answer, or is refused at once."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(offer, loop.create_future(), loop.time() + self._patience)
        self._patient.append(waiting)
        first = self._open.get(offer.claim) if offer.claim is not None else None
        if first is None:
            if offer.claim is not None:
                claim = offer.claim
                self._open[claim] = waiting
                waiting.answer.add_done_callback(lambda _: self._open.pop(claim, None))
            self._waiting.append(waiting)
        elif first.offer.fingerprint == offer.fingerprint:
            waiting.answer = first.answer
        else:
            waiting.resolve(contradiction(offer))
        return waiting

    async def run(self) -> None:
        """Until cancelled. Nothing is taken in before what was left unacknowledged stands in the queue."""
        await together(self._take_in(), self._look_for_forsaken(), self._answer_late(), self.erasures.run())

    async def drained(self) -> None:
        while self._waiting or self._open or self._followers:  # noqa: ASYNC110 - only at the end of the process
            await asyncio.sleep(0.01)
        await self._publisher.drained()

    async def _take_in(self) -> None:
        while True:
            try:
                if self._unsure:
                    await self._recover(self._clock() + 1)
                    self._unsure, self.ready = False, True
                while self._waiting:
                    await self._tick()
                self._work.clear()
                await self._work.wait()
            except TransientError:
                self._unsure, self.ready = True, False
                log.warning("the store does not answer", exc_info=True)
                await asyncio.sleep(0.5)

    async def _tick(self) -> None:
        """Waits for the batch before to be acknowledged: meanwhile more come, and many share one write and one send."""
        await self._publisher.idle.wait()
        taken = self._next()
        if not taken:
            return
        try:
            again = await self._take(taken)
        except (TransientError, FatalError):
            for waiting in taken:
                waiting.resolve(Unavailable("The store does not answer; send it again with the same id."))
            raise
        except Exception:
            for waiting in taken:
                waiting.resolve(Refusal(500, "Internal error", "It is safe to send it again with the same id."))
            log.exception("offers could not be taken in", extra={"count": len(taken)})
            return
        if again:
            self._waiting.extendleft(reversed(again))
            await asyncio.sleep(0.02)

    def _next(self) -> list[Waiting]:
        """As many as may fit into one document of the store; how many really do shows when they are written out."""
        taken: list[Waiting] = []
        size = 0
        while self._waiting and len(taken) < TOGETHER and size < LARGEST:
            one = self._waiting.popleft()
            if not one.answer.done():
                taken.append(one)
                size += one.offer.size
        return taken

    async def _take(self, taken: list[Waiting]) -> list[Waiting]:
        """Those that must be taken in once more, in their order: the batch is full, or another process was first with their
        customer."""
        built = iter(await self._entries.entries([w.offer for w in taken if isinstance(w.offer, Offer)]))
        again: set[Waiting] = set()
        chosen: list[tuple[Waiting, Entry]] = []
        changing: set[str] = set()
        full = False
        for waiting in taken:
            result = next(built) if isinstance(waiting.offer, Offer) else Later(full=True) if full else waiting.offer
            if isinstance(result, Refusal):
                waiting.resolve(result)
            elif isinstance(result, Later):
                full |= result.full
                again |= {waiting} if result.full else self._once_more(waiting, patient=True)
            elif not result.lines and result.claim is None and result.customer_id not in changing:
                waiting.resolve(Accepted(result.event_id, result.customer_id, False, None))
            else:
                chosen.append((waiting, result))
                changing |= {result.customer_id} if result.guard is not None else set()
        if chosen:
            again |= await self._claim([w for w, _ in chosen], tuple(e for _, e in chosen))
        return [waiting for waiting in taken if waiting in again]

    async def _claim(self, waiting: list[Waiting], entries: tuple[Entry, ...]) -> set[Waiting]:
        self._number += 1
        batch = Batch(str(uuid4()), self._owner, self._number, self._clock(), entries)
        await self._store.begin(batch)
        verdict = await self._store.judge(batch)
        job = await self._admit(batch, verdict.live(batch))
        again: set[Waiting] = set()
        for index, one in enumerate(waiting):
            if index in verdict.lost:
                again |= self._once_more(one)
            elif index in verdict.repeated:
                self._follow(self._repeat(one, verdict.repeated[index]))
        self._answer_from(job, {index: waiting[index] for index in job.live})
        return again

    async def _admit(self, batch: Batch, live: list[int]) -> Job:
        for index in live:
            guard = batch.entries[index].guard
            if guard is not None and (guard.release or guard.destroys):
                self._known.forget(guard.customer.id)
            if guard is not None and guard.destroys:
                await self._vault.destroy(guard.customer.id)
        return self._publisher.put(batch, live)

    def _answer_from(self, job: Job, waiting: dict[int, Waiting]) -> None:
        def answer(done: asyncio.Future[dict[int, str | None]]) -> None:
            positions = done.result()
            for index, one in waiting.items():
                one.resolve(job.accepted(index, positions))

        job.done.add_done_callback(answer)

    def _once_more(self, waiting: Waiting, *, patient: bool = False) -> set[Waiting]:
        waiting.attempts += 1
        if waiting.attempts > (ATTEMPTS * 50 if patient else ATTEMPTS) or waiting.answer.done():
            waiting.resolve(Unavailable("Somebody else is changing this customer; send it again."))
            return set()
        return {waiting}

    def _follow(self, repeating: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(repeating)
        self._followers.add(task)
        task.add_done_callback(self._followers.discard)

    async def _repeat(self, waiting: Waiting, claim: Claim) -> None:
        """The id was taken in before: the first answer again, once it is known."""
        if claim.fingerprint != waiting.offer.fingerprint:
            waiting.resolve(contradiction(waiting.offer))
            return
        deadline = self._clock() + int(self._patience * SECOND)
        while self._clock() < deadline:
            positions = await self._positions(claim)
            if positions is not None:
                waiting.resolve(_first_answer(claim, positions))
                return
            await asyncio.sleep(0.05)
        waiting.resolve(Unavailable("The first attempt is not acknowledged yet; send it again later."))

    async def _positions(self, claim: Claim) -> dict[int, str | None] | None:
        job = self._publisher.jobs.get(claim.batch)
        if job is not None:
            return job.done.result() if job.done.done() else None
        try:
            return await self._store.positions(claim.batch)
        except TransientError:
            return None

    async def _recover(self, before: Instant) -> None:
        """Queues what was written down and never acknowledged, oldest first."""
        for batch_id in await self._store.pending(before):
            if batch_id in self._publisher.jobs:
                continue
            batch = await self._store.batch(batch_id)
            if batch is None:
                continue
            await self._admit(batch, await self._sendable(batch, (await self._store.judge(batch)).live(batch)))
            log.info("sending again what was not acknowledged", extra={"records": len(batch.entries)})

    async def _sendable(self, batch: Batch, live: list[int]) -> list[int]:
        """Nothing that Kafka can never take may keep every intake from starting; its emitter was never told that it is in."""
        never = [index for index in live if any(line.size > LIMITS.record for line in batch.entries[index].lines)]
        if never:
            log.error("records too large to be sent are left out", extra={"batch": batch.id, "count": len(never)})
            await self._store.give_claims_back(batch, never)
        return [index for index in live if index not in never]

    async def _answer_late(self) -> None:
        """One clock for all requests. What was not even claimed by then is not taken in behind its client's back."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.25)
            while self._patient and (self._patient[0].answer.done() or self._patient[0].until <= loop.time()):
                late = self._patient.popleft()
                late.resolve(Unavailable("Not acknowledged in time; it may yet be. Send it again with the same id."))

    async def _look_for_forsaken(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            if not self._publisher.failing and not self._unsure:
                try:
                    await self._recover(self._clock() - FORSAKEN)
                except TransientError:
                    self._unsure = True
                    self._work.set()


def _first_answer(claim: Claim, positions: dict[int, str | None]) -> Answer:
    if claim.index not in positions:
        return Unavailable("The first attempt was given up; send it again.")
    return Accepted(claim.event_id, claim.customer_id, claim.registered, positions[claim.index])


def contradiction(offer: Offer | Entry) -> Refusal:
    conflict = offer.conflict if isinstance(offer, Offer) else 409
    what = "event id" if conflict == 409 else "Idempotency-Key"
    return Refusal(conflict, "Used for other content", f"This {what} was already used for other content.")
