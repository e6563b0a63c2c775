"""Mistakes that such an engine could have, each put into the running classes for a while: proof that the net holds."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from shared.clock import SECOND
from shared.processing import ownership
from shared.processing.announcer import Announcer
from shared.processing.arrivals import Arrival, position_key
from shared.processing.batch import Batch
from shared.processing.closing import Closing
from shared.processing.customer import Customer, DomainFault
from shared.processing.document import Document, Parked
from shared.processing.handover import Handover
from shared.processing.memory_store import MemoryStore
from shared.processing.owned import Owned
from shared.processing.ownership import Ownership
from shared.processing.partition_time import PartitionTime
from shared.processing.ports import TransientError
from shared.processing.records import Committed, Message
from shared.processing.succession import Succession
from shared.processing.worker import Worker
from tests.simulation import run
from tests.support.example_domains import ExampleDomain
from tests.support.happenings import START

Patches = Callable[[ExitStack], None]


@dataclass(frozen=True)
class Defect:
    name: str
    plant: Patches

    @contextmanager
    def planted(self) -> Iterator[None]:
        with ExitStack() as stack:
            self.plant(stack)
            yield


def swapped(owner: Any, name: str, make: Callable[[Any], Any]) -> Patches:
    """Puts `make(original)` in the place of an attribute."""

    def plant(stack: ExitStack) -> None:
        stack.enter_context(patch.object(owner, name, make(getattr(owner, name))))

    return plant


def together(*plants: Patches) -> Patches:
    def plant(stack: ExitStack) -> None:
        for one in plants:
            one(stack)

    return plant


def ack_first(apply: Any) -> Any:
    async def _apply(self: Worker, arrivals: list[Arrival]) -> int:
        await self.ownership.committed({a.record.source: Committed(a.record.offset + 1, "") for a in arrivals})
        fired: int = await apply(self, arrivals)
        return fired

    return _apply


def swallow(_tried: Any) -> Any:
    def tried(self: Customer[Any], step: Callable[[], None], since: int) -> bool:
        with suppress(DomainFault):
            step()
        return True

    return tried


def never(_original: Any) -> Any:
    return lambda *_arguments, **_named: False


def nothing(_original: Any) -> Any:
    return lambda *_arguments, **_named: None


def nothing_later(_original: Any) -> Any:
    async def nothing_at_all(*_arguments: Any, **_named: Any) -> None:
        return None

    return nothing_at_all


def publish_first(saved: Any) -> Any:
    async def _saved(self: Worker, outcome: Any) -> bool:
        await self._publish(self._said([], outcome))
        return bool(await saved(self, outcome))

    return _saved


def without_outbox(finish: Any) -> Any:
    def finished(self: Customer[Any], covered: Any) -> Document:
        document: Document = finish(self, covered)
        return document.replaced(outbox=(), unsent=False)

    return finished


def all_at_once(_publish: Any) -> Any:
    async def publish(self: Worker, messages: list[Message]) -> None:
        await asyncio.gather(*(self._one(message) for message in messages))  # type: ignore[attr-defined]

    return publish


async def publish_one(self: Worker, message: Message) -> None:
    await self._ports.retry("publishing", lambda: self._ports.writer.publish([message]))


def other_key(entry: Any) -> Any:
    def keyed(self: Announcer, document: Document, found: Any) -> Iterator[Message]:
        for message in entry(self, document, found):
            yield Message(message.topic, str(uuid4()).encode(), message.value, message.headers)

    return keyed


def overtaking(admit: Any) -> Any:
    def overtaken(self: Customer[Any], arrival: Arrival, until: int, position: str) -> bool:
        parked, self.document.parked = self.document.parked, None
        result: bool = admit(self, arrival, until, position)
        self.document.parked = self.document.parked or parked
        return result

    return overtaken


def blind_save(_save: Any) -> Any:
    def save(self: MemoryStore, document: Document) -> bool:
        self._put(document)
        return True

    return save


def unrecognised(saved: Any) -> Any:
    fenced, duplicate = Customer.fenced, Customer._duplicate

    async def _saved(self: Worker, outcome: Any) -> bool:
        Customer.fenced, Customer._duplicate = fenced, duplicate  # type: ignore[method-assign]
        try:
            return await self._ports.store.save(outcome.documents) if outcome.documents else True
        except TransientError:
            Customer.fenced = Customer._duplicate = lambda *_: False  # type: ignore[method-assign, assignment]
            return False

    return _saved


def restored(stack: ExitStack) -> None:
    fenced, duplicate = Customer.fenced, Customer._duplicate
    stack.callback(setattr, Customer, "fenced", fenced)
    stack.callback(setattr, Customer, "_duplicate", duplicate)


def elapsed(fire: Any) -> Any:
    def _fire(self: Customer[Any], until: int, position: str) -> None:
        self.noticed = until  # type: ignore[attr-defined]
        fire(self, until, position)

    return _fire


def when_noticed(fire_one: Any) -> Any:
    def _fire_one(self: Customer[Any], due: int, position: str) -> None:
        fire_one(self, max(due, self.noticed), position)  # type: ignore[attr-defined]

    return _fire_one


def by_the_clock(on_event: Any) -> Any:
    def clocked(self: ExampleDomain, state: Any, event: Any, at: int) -> Any:
        return on_event(self, state, event, START + int(asyncio.get_running_loop().time() * SECOND))

    return clocked


def any_watermark(_covered_by: Any) -> Any:
    def covered_by(watermarks: Any) -> Any:
        return lambda position: max(watermarks.values(), default=0) > int(position.rpartition(":")[2])

    return covered_by


def only_inputs(_restore: Any) -> Any:
    def restore(self: PartitionTime, topic: str, metadata: str) -> None:
        self.inputs[topic] = 0

    return restore


def clear_whatever(_clear: Any) -> Any:
    async def clear_unsent(self: MemoryStore, revisions: Any) -> None:
        for document in (await self.load(revisions)).values():
            self._put(document.replaced(unsent=False))

    return clear_unsent


def unsent_first(own: Any) -> Any:
    """The first look alone would do: whoever lands after it still has its timer among those that are read next."""

    async def _own(self: Ownership, number: int, committed: dict[str, Committed]) -> None:
        self.watermarks |= {position_key(topic, number): at.offset for topic, at in committed.items()}
        await self._republish_unsent(number, None)
        self._republish_unsent = nothing_later(None)  # type: ignore[method-assign]
        try:
            await own(self, number, committed)
        finally:
            del self._republish_unsent

    return _own


def as_fetched(_positions: Any) -> Any:
    def positions(self: Owned, arrivals: list[Arrival]) -> dict[str, Committed]:
        for arrival in arrivals:
            self.applied[arrival.record.topic] = arrival.record.offset + 1
        return {topic: Committed(offset, self.time.to_metadata(topic)) for topic, offset in self.next.items()}

    return positions


def timers_go_on(_park: Any) -> Any:
    def park(self: Customer[Any], error: str, since: int) -> None:
        self.document.parked = Parked(error, since)
        self.faulted = True

    return park


def fire_parked(fire: Any) -> Any:
    def _fire(self: Customer[Any], until: int, position: str) -> None:
        parked, self.document.parked = self.document.parked, None
        fire(self, until, position)
        self.document.parked = self.document.parked or parked

    return _fire


def waits_with_timers(_wait: Any) -> Any:
    def wait(self: Customer[Any], arrival: Arrival, until: int) -> None:
        wake = self.document.wake_at
        _wait(self, arrival, until)
        self.document.wake_at = wake

    return wait


def deletes(finish: Any) -> Any:
    def finished(self: Customer[Any], covered: Any) -> Document:
        document: Document = finish(self, covered)
        if not document.erased or self.before.erased:
            return document
        return Document(document.id, document.rev, document.partition, outbox=document.outbox, unsent=document.unsent)

    return finished


def without_the_last(load: Any) -> Any:
    async def _load(self: Handover, customer_ids: list[str]) -> dict[str, Document]:
        found: dict[str, Document] = await load(self, customer_ids)
        return {key: document for key, document in found.items() if key != customer_ids[-1]}

    return _load


def not_held_back(hold: Any) -> Any:
    def held(self: Owned, arrivals: list[Arrival]) -> list[Arrival]:
        hold(self, arrivals)
        return arrivals

    return held


def without_upcasters(stack: ExitStack) -> None:
    stack.enter_context(patch.dict(run.OLD_VERSIONS, clear=True))


def commit_unsaid(commit_applied: Any) -> Any:
    async def early(self: Ownership) -> None:
        kept = {number: owned.redelivery for number, owned in self.owned.items()}
        for owned in self.owned.values():
            owned.redelivery = None
        await commit_applied(self)
        for number, redelivery in kept.items():
            self.owned[number].redelivery = redelivery

    return early


DEFECTS = (
    Defect("ack before handling", swapped(Worker, "_apply", ack_first)),
    Defect("swallowed handler exception", swapped(Customer, "_tried", swallow)),
    Defect("no fence", together(swapped(Customer, "fenced", never), swapped(Customer, "_duplicate", never))),
    Defect("publish before save", swapped(Worker, "_saved", publish_first)),
    Defect("outbox dropped before the acknowledgement", swapped(Customer, "finish", without_outbox)),
    Defect(
        "concurrent publishing of one customer",
        together(
            swapped(Worker, "_publish", all_at_once),
            lambda stack: stack.enter_context(patch.object(Worker, "_one", publish_one, create=True)),
        ),
    ),
    Defect("a batch saved before the one before it is committed", swapped(Closing, "done", nothing_later)),
    Defect("key other than the customer id", swapped(Announcer, "entry", other_key)),
    Defect("later event overtakes a parked one", swapped(Customer, "_admit", overtaking)),
    Defect("save without the revision condition", swapped(MemoryStore, "_save", blind_save)),
    Defect("own write not recognised after a lost reply", together(restored, swapped(Worker, "_saved", unrecognised))),
    Defect(
        "timer counts elapsed sleep instead of due time",
        together(swapped(Customer, "_fire", elapsed), swapped(Customer, "_fire_one", when_noticed)),
    ),
    Defect("domain reads the clock", swapped(ExampleDomain, "on_event", by_the_clock)),
    Defect("upcaster removed", without_upcasters),
    Defect("no seek back after a rebalance", swapped(Ownership, "seek_back", nothing)),
    Defect("an entry covered by another topic's watermark", swapped(ownership, "covered_by", any_watermark)),
    Defect("nothing republished on load", swapped(Batch, "_republish", nothing)),
    Defect("timers fired by the customer's own time", swapped(Batch, "fire", nothing)),
    Defect("partition's time forgotten over a restart", swapped(PartitionTime, "restore", only_inputs)),
    Defect("unsent cleared without rev", swapped(MemoryStore, "clear_unsent", clear_whatever)),
    Defect(
        "unsent looked for only on assignment",
        together(swapped(Ownership, "_own", unsent_first), swapped(Owned, "looks_again", never)),
    ),
    Defect("a bare commit of what was fetched", swapped(Owned, "positions", as_fetched)),
    Defect("what is redelivered committed before it was said", swapped(Ownership, "commit_applied", commit_unsaid)),
    Defect(
        "a parked customer's timers going on",
        together(
            swapped(Customer, "_park", timers_go_on),
            swapped(Customer, "_fire", fire_parked),
            swapped(Customer, "_wait", waits_with_timers),
        ),
    ),
    Defect("erasure deletes the document", swapped(Customer, "finish", deletes)),
    Defect("activation skipping a customer", swapped(Handover, "_load", without_the_last)),
    Defect("activation committed before everybody has changed over", swapped(Owned, "hold", not_held_back)),
    Defect("activation begun anew for who has changed over", swapped(Succession, "has_changed_over", never)),
)
"""All but `auto.offset.reset=latest`, which is a setting: the test of the planted holds it against the real reader."""
