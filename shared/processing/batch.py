"""One batch: records of owned partitions, in order, applied to their customers' documents. Pure but for the domain's own speed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.clock import Instant
from shared.processing.arrivals import Arrival
from shared.processing.customer import Customer
from shared.processing.document import Document, Entry
from shared.processing.domain import Domain, version_of
from shared.processing.failures import FailureBudget, dead_letter
from shared.processing.outbox import Covered, unpublished
from shared.processing.partition_time import PartitionTime
from shared.processing.records import Message

Waiting = Mapping[str, list[tuple[Arrival, Instant]]]
"""Per customer: the records that waited while it was parked, read from the log again, each with the partition's time then."""


@dataclass(slots=True)
class Loaded:
    """A document with the state decoded from it, as the cache keeps them. `fresh`: it was just read from the store."""

    document: Document
    state: Any = None
    fresh: bool = False


@dataclass(slots=True)
class Outcome:
    """What one attempt would write and say. Nothing of it counts before the write is acknowledged."""

    documents: list[Document] = field(default_factory=list)
    states: dict[str, Any] = field(default_factory=dict)
    republished: list[tuple[Document, Entry]] = field(default_factory=list)
    emitted: list[tuple[Document, Entry]] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    confirmed: dict[str, int] = field(default_factory=dict)
    news: set[int] = field(default_factory=set)
    """Partitions of which something came that nobody had applied: what is redelivered at a takeover has come by."""
    fired: list[Instant] = field(default_factory=list)
    """When timers were due that fired because time went on."""
    applied: int = 0
    duplicates: int = 0
    parked: int = 0
    given_up: int = 0


class Batch:
    """Applies arrivals in the given order, then the timers that the partitions' times have reached."""

    def __init__(
        self,
        domains: Mapping[int, Domain[Any]],
        loaded: Mapping[str, Loaded],
        covered: Covered,
        budget: FailureBudget,
        silent: bool = False,
    ) -> None:
        """`domains`: per partition the one that it is under. `silent`: what is said is counted, and nobody wants to read it."""
        self._domains = domains
        self._loaded = loaded
        self._covered = covered
        self._budget = budget
        self._resumed: set[str] = set()
        """What waited was read as it was before this batch: applied again, what this batch has added would be lost."""
        self._silent = silent
        self._customers: dict[str, Customer[Any]] = {}
        self._outcome = Outcome()

    def apply(self, arrivals: Iterable[Arrival], times: Mapping[int, PartitionTime], waiting: Waiting) -> None:
        """`times` are moved on: the caller gives copies and keeps them when the write is acknowledged."""
        for arrival in arrivals:
            time = times[arrival.record.partition]
            time.see(arrival)
            if arrival.customer_id is not None:
                self._apply(arrival, arrival.customer_id, time, waiting)
            elif arrival.event is None:
                self._dead_letter(arrival)
            elif not arrival.tells_time_only:
                self._outcome.news.add(arrival.record.partition)

    def fire(self, customer_ids: Iterable[str], times: Mapping[int, PartitionTime]) -> None:
        """Those of other customers whose time has come, and those of this batch's own that the batch's end has reached."""
        for customer_id in {**self._customers, **dict.fromkeys(customer_ids)}:
            customer = self._customer(customer_id)
            if customer is not None and (due := customer.document.wake_at) is not None:
                time = times[customer.document.partition]
                if due <= time.until(customer.document.history):
                    self._outcome.fired.append(due)
                    customer.fire(time)
                    self._judge(customer)

    def outcome(self, cleared: Mapping[str, int] | None = None) -> Outcome:
        """`cleared`: revisions that lost their unsent marks while this was decided."""
        cleared = cleared or {}
        for customer_id, loaded in self._loaded.items():
            if loaded.fresh and loaded.document.rev:
                self._republish(customer_id, _as_cleared(loaded.document, cleared))
        for customer in self._customers.values():
            if customer.document is not customer.before:
                customer.before = _as_cleared(customer.before, cleared)
                self._finish(customer)
        return self._outcome

    def _apply(self, arrival: Arrival, customer_id: str, time: PartitionTime, waiting: Waiting) -> None:
        customer = self._customer(customer_id) or self._new(customer_id, arrival.record.partition)
        fenced = customer.fenced(arrival)
        if not fenced:
            self._outcome.news.add(arrival.record.partition)
        if not fenced and customer_id in waiting and customer_id not in self._resumed:
            self._resumed.add(customer_id)
            if customer.document.parked is not None:
                customer.resume(waiting[customer_id], arrival.position)
        if not fenced and customer.apply(arrival, time):
            self._outcome.applied += 1
        else:
            self._outcome.duplicates += 1
        self._judge(customer)

    def _judge(self, customer: Customer[Any]) -> None:
        self._budget.count(customer.faulted)
        self._outcome.parked += customer.faulted
        customer.faulted = False

    def _dead_letter(self, arrival: Arrival) -> None:
        domain = self._domains[arrival.record.partition]
        self._outcome.dead.append(dead_letter(domain.service, arrival, arrival.record.timestamp))
        self._budget.count(True)

    def _customer(self, customer_id: str) -> Customer[Any] | None:
        customer = self._customers.get(customer_id)
        if customer is None and (loaded := self._loaded.get(customer_id)) is not None:
            domain = self._domains[loaded.document.partition]
            customer = self._customers[customer_id] = Customer(domain, loaded.document, loaded.state, self._silent)
        return customer

    def _new(self, customer_id: str, partition: int) -> Customer[Any]:
        domain = self._domains[partition]
        document = Document(customer_id, partition=partition, version=version_of(domain))
        customer = Customer(domain, document, None, self._silent)
        self._customers[customer_id] = customer
        return customer

    def _republish(self, customer_id: str, document: Document) -> None:
        """Before anything new of this customer: what an earlier owner wrote and may not have published."""
        entries = unpublished(document, self._covered)
        self._outcome.republished.extend((document, entry) for entry in entries)
        if document.unsent:
            self._outcome.confirmed[customer_id] = document.rev

    def _finish(self, customer: Customer[Any]) -> None:
        document = customer.finish(self._covered)
        if customer.faulted:
            self._judge(customer)
        self._outcome.given_up += customer.given_up
        self._outcome.documents.append(document)
        self._outcome.states[document.id] = customer.kept_state
        self._outcome.emitted.extend((document, entry) for entry in customer.emitted)
        if document.unsent:
            self._outcome.confirmed[document.id] = document.rev


def _as_cleared(document: Document, cleared: Mapping[str, int]) -> Document:
    return document.replaced(unsent=False) if cleared.get(document.id) == document.rev else document
