"""What is taken in together: written down once before it is sent, so that whoever sends it again sends the same."""

from collections.abc import Sequence
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
    """What must hold in the store before an entry may be sent: it decides between two intakes.

    `keys`: identity keys to be claimed for the customer. `insert`: a new customer. `update`: the customer as changed, valid
    where the stored `rev` is one less. `release`: keys that no longer name it. `destroy`: its data key goes.
    """

    keys: tuple[str, ...] = ()
    insert: Customer | None = None
    update: Customer | None = None
    release: tuple[str, ...] = ()
    destroy: bool = False

    def to_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"keys": list(self.keys), "release": list(self.release), "destroy": self.destroy}
        for name, customer in (("insert", self.insert), ("update", self.update)):
            if customer is not None:
                fields[name] = customer.model_dump_json()
        return fields


def guard_from(fields: dict[str, Any]) -> Guard:
    customers = {name: Customer.model_validate_json(fields[name]) for name in ("insert", "update") if name in fields}
    return Guard(tuple(fields["keys"]), release=tuple(fields["release"]), destroy=fields["destroy"], **customers)


@dataclass(frozen=True, slots=True)
class Line:
    """One record to be appended: to its customer's partition, or to an explicit one."""

    value: str
    partition: int | None = None

    def message(self, customer_id: str | None) -> Message:
        keyed = customer_id if self.partition is None else None
        return to_message(self.value.encode(), keyed, self.partition)


@dataclass(frozen=True, slots=True)
class Entry:
    """One offer as it will be sent; the position of its last line is what is answered."""

    event_id: str
    customer_id: str
    lines: tuple[Line, ...]
    registered: bool = False
    claim: str | None = None
    fingerprint: str = ""
    guard: Guard | None = None

    @property
    def size(self) -> int:
        return sum(len(line.value) for line in self.lines)

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
    """Which entries of a batch may be sent. `lost`: somebody else was first with the customer or changed it meanwhile;
    `repeated`: the id was taken in before, under this claim."""

    lost: set[int] = field(default_factory=set)
    repeated: dict[int, Claim] = field(default_factory=dict)

    def live(self, batch: Batch) -> list[int]:
        return [i for i in range(len(batch.entries)) if i not in self.lost and i not in self.repeated]


def messages(batch: Batch, live: Sequence[int]) -> list[Message]:
    entries = (batch.entries[index] for index in live)
    return [line.message(entry.customer_id) for entry in entries for line in entry.lines]
