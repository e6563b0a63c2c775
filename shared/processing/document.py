"""One customer's document: all that must change together, changed by one compare-and-set write."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.clock import Instant
from shared.processing.domain import FIRST_VERSION


class Entry(NamedTuple):
    """An emitted event that may not have reached the log. `position` is the input that caused it ("customers:0:1042").

    `position` is empty where a timer emitted it: then only the document's `unsent` mark covers it.
    """

    position: str
    event: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that a parked customer has yet to apply: where it is, and the partition's time when it came."""

    topic: str
    offset: int
    partition_time: Instant


@dataclass(frozen=True, slots=True)
class Parked:
    error: str
    since: Instant
    waiting: tuple[Waiting, ...] = ()


@dataclass(slots=True)
class Document:
    """Field meanings: DESIGN.md section 4. `history` is the bracket (offset of its beginning) in which the customer was
    first seen, None once it lives in the present; `mark` is what its last record was marked with (history, replay, None),
    which its timers inherit inside the bracket. `state` is JSON text, None before the first event and after erasure;
    `version` is that of the domain that made it. `renumbered`: how many more numbers were given than the log gives again,
    because a rebuild by other code went on with the old numbering; None: none ever did."""

    id: str
    rev: int = 0
    partition: int = 0
    at: Instant = 0
    positions: dict[str, int] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    recent: tuple[tuple[str, Instant], ...] = ()
    wake_at: Instant | None = None
    sequence: int = 0
    outbox: tuple[Entry, ...] = ()
    unsent: bool = False
    parked: Parked | None = None
    history: int | None = None
    mark: str | None = None
    erased: bool = False
    disordered: bool = False
    state: str | None = None
    view: dict[str, Any] = field(default_factory=dict)
    version: int = FIRST_VERSION
    renumbered: int | None = None

    def to_fields(self) -> dict[str, Any]:
        """As the store keeps it; absent means default, so that partial indexes stay small."""
        fields: dict[str, Any] = {
            "_id": self.id,
            "rev": self.rev,
            "partition": self.partition,
            "at": self.at,
            "positions": self.positions,
            "sequence": self.sequence,
        }
        for name in _FLAGS_AND_COLLECTIONS:
            if value := getattr(self, name):
                fields[name] = value
        for name in _NUMBERS_AND_TEXTS:
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        if self.parked is not None:
            fields["parked"] = _parked_fields(self.parked)
        if self.version != FIRST_VERSION:
            fields["version"] = self.version
        return fields

    def copied(self) -> "Document":
        """A working copy whose fields may be set; their values (dictionaries too) are replaced, never changed in place."""
        return Document(
            self.id,
            self.rev,
            self.partition,
            self.at,
            self.positions,
            self.applied,
            self.recent,
            self.wake_at,
            self.sequence,
            self.outbox,
            self.unsent,
            self.parked,
            self.history,
            self.mark,
            self.erased,
            self.disordered,
            self.state,
            self.view,
            self.version,
            self.renumbered,
        )

    def replaced(self, **changes: Any) -> "Document":
        copy = self.copied()
        for name, value in changes.items():
            setattr(copy, name, value)
        return copy


_FLAGS_AND_COLLECTIONS = ("applied", "recent", "outbox", "unsent", "erased", "disordered", "view")
_NUMBERS_AND_TEXTS = ("wake_at", "history", "mark", "state", "renumbered")
"""An instant or an offset of 0 is a value: only None is absent."""


def _parked_fields(parked: Parked) -> dict[str, Any]:
    waiting = [[w.topic, w.offset, w.partition_time] for w in parked.waiting]
    return {"error": parked.error, "since": parked.since, "waiting": waiting}


def from_fields(fields: dict[str, Any]) -> Document:
    parked = fields.get("parked")
    return Document(
        id=fields["_id"],
        rev=fields["rev"],
        partition=fields["partition"],
        at=fields["at"],
        positions=dict(fields["positions"]),
        applied=dict(fields.get("applied", {})),
        recent=tuple((key, at) for key, at in fields.get("recent", ())),
        wake_at=fields.get("wake_at"),
        sequence=fields["sequence"],
        outbox=tuple(Entry(position, event) for position, event in fields.get("outbox", ())),
        unsent="unsent" in fields,
        parked=_parked_from(parked) if parked else None,
        history=fields.get("history"),
        mark=fields.get("mark"),
        erased=fields.get("erased", False),
        disordered=fields.get("disordered", False),
        state=fields.get("state"),
        view=dict(fields.get("view", {})),
        version=fields.get("version", FIRST_VERSION),
        renumbered=fields.get("renumbered"),
    )


def _parked_from(fields: dict[str, Any]) -> Parked:
    waiting = tuple(Waiting(topic, offset, at) for topic, offset, at in fields["waiting"])
    return Parked(fields["error"], fields["since"], waiting)
