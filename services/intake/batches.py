"""What is taken in together: written down once before it is sent, so that whoever sends it again sends the same."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.intake.customers import Customer
from services.intake.domain import to_message
from shared.clock import Instant
from shared.processing.records import Message


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to one offer; the same for every repetition. `position` None: Kafka did not say where."""

    event_id: str
    customer_id: str
    registered: bool
    position: str | None

    def body(self) -> dict[str, Any]:
        return {
            "event_id": self.event_id,
            "customer_id": self.customer_id,
            "registered": self.registered,
            "position": self.position,
        }


@dataclass(frozen=True, slots=True)
class Guard:
    """What must hold in the store before the entries of a customer may be sent: it decides between two intakes.

    `customer`: as the whole batch leaves it, with the changes of this batch. `base`: the stored `rev` that it was made from,
    0 for a new one. `keys`: identity keys to be claimed for it. `release`: keys that no longer name it.
    """

    customer: Customer
    base: int = 0
    keys: tuple[str, ...] = ()
    release: tuple[str, ...] = ()

    @property
    def destroys(self) -> bool:
        """The customer's data key goes."""
        return self.customer.erased_at is not None

    def to_fields(self) -> dict[str, Any]:
        keys, release = list(self.keys), list(self.release)
        return {"customer": self.customer.model_dump_json(), "base": self.base, "keys": keys, "release": release}


def guard_from(fields: dict[str, Any]) -> Guard:
    customer = Customer.model_validate_json(fields["customer"])
    return Guard(customer, fields["base"], tuple(fields["keys"]), tuple(fields["release"]))


@dataclass(frozen=True, slots=True)
class Line:
    """One record to be appended: to its customer's partition, or to an explicit one."""

    value: str
    partition: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the record's value."""
        return len(self.value.encode())

    def message(self, customer_id: str | None) -> Message:
        keyed = customer_id if self.partition is None else None
        return to_message(self.value.encode(), keyed, self.partition)


@dataclass(frozen=True, slots=True)
class Entry:
    """One offer as it will be sent; the position of its last line is what is answered.

    `guard`: at the first entry of its customer that rests on it; with it stand or fall all that follow of this customer.
    """

    event_id: str
    customer_id: str
    lines: tuple[Line, ...]
    registered: bool = False
    claim: str | None = None
    fingerprint: str = ""
    guard: Guard | None = None

    @property
    def size(self) -> int:
        return sum(line.size for line in self.lines)

    def to_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "e": self.event_id,
            "c": self.customer_id,
            "l": [line.value if line.partition is None else [line.value, line.partition] for line in self.lines],
        }
        optional = {"r": self.registered, "k": self.claim, "f": self.fingerprint}
        fields.update((name, value) for name, value in optional.items() if value)
        if self.guard is not None:
            fields["g"] = self.guard.to_fields()
        return fields


def entry_from(fields: dict[str, Any]) -> Entry:
    lines = tuple(Line(line) if isinstance(line, str) else Line(line[0], line[1]) for line in fields["l"])
    guard = guard_from(fields["g"]) if "g" in fields else None
    return Entry(fields["e"], fields["c"], lines, fields.get("r", False), fields.get("k"), fields.get("f", ""), guard)


@dataclass(frozen=True, slots=True)
class Batch:
    """`owner`: the process that took it in. `number` counts its batches, so that they are sent again in their order."""

    id: str
    owner: str
    number: int
    at: Instant
    entries: tuple[Entry, ...]

    @property
    def guards(self) -> list[Guard]:
        return [entry.guard for entry in self.entries if entry.guard is not None]

    def dependants(self) -> dict[str, list[int]]:
        """By customer, which entries rest on its guard."""
        places: dict[str, list[int]] = {}
        for index, entry in enumerate(self.entries):
            if entry.guard is not None or entry.customer_id in places:
                places.setdefault(entry.customer_id, []).append(index)
        return places


@dataclass(frozen=True, slots=True)
class Claim:
    """Who was first to take in an event of this id, and what it was answered (where the position is known already)."""

    id: str
    fingerprint: str
    batch: str
    index: int
    event_id: str
    customer_id: str
    registered: bool


@dataclass(slots=True)
class Verdict:
    """Which entries of a batch may be sent. `lost`: somebody else was first with the customer or changed it meanwhile, so
    they are decided anew; `repeated`: the id was taken in before, under this claim."""

    lost: set[int] = field(default_factory=set)
    repeated: dict[int, Claim] = field(default_factory=dict)

    @property
    def settled(self) -> set[int]:
        return self.lost | self.repeated.keys()

    def lose(self, batch: Batch, places: Collection[int]) -> None:
        """These, and whatever follows of their customers: a customer's events keep their order."""
        lost = self.lost.union(places)
        if not lost:
            return
        customers: set[str] = set()
        for index, entry in enumerate(batch.entries):
            if index in lost:
                customers.add(entry.customer_id)
            if entry.customer_id in customers and index not in self.repeated:
                self.lost.add(index)

    def live(self, batch: Batch) -> list[int]:
        return [i for i in range(len(batch.entries)) if i not in self.lost and i not in self.repeated]


def messages(batch: Batch, live: Sequence[int]) -> list[Message]:
    entries = (batch.entries[index] for index in live)
    return [line.message(entry.customer_id) for entry in entries for line in entry.lines]
