"""An output log made up by chance, the truth beside it, and a follower of it that dies wherever chance says."""

import random
from collections import Counter
from collections.abc import Collection as Group
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.segmentation.chronicle.changes import CHANGES, Changes
from services.segmentation.chronicle.ledgers import FLOWS, SIZES, Ledgers
from services.segmentation.chronicle.listener import Chronicle
from services.segmentation.chronicle.members import MEMBERS, Members, segment_of
from services.segmentation.chronicle.moves import COMPOSITES, Moves, Sizes, summed
from services.segmentation.chronicle.remaking import WANTED, Remaking
from services.segmentation.chronicle.snapshot import Snapshot
from services.segmentation.chronicle.trail import TRAIL, Trail
from shared.clock import DAY, HOUR, from_rfc3339, wall_clock
from shared.events.catalog import SEGMENTS
from shared.events.customers import ClockTicked
from shared.events.segments import CustomerForgotten, Membership, SegmentsChanged
from shared.processing.emission import Cause, write, write_mark
from shared.processing.mongo import Collection
from shared.processing.mongo_collection import Row
from shared.processing.records import Record, TopicPartition

PARTITIONS = 2
START = from_rfc3339("2026-03-01T20:00:00Z")
VALUES = {"level": ("high", "low", "a.b$c"), "status": ("new", "lost"), "needs": ("x", "y", "z")}
LISTED = {"needs", COMPOSITES}


class Died(Exception):
    """As a process that was killed: nothing more of it happens."""


@dataclass
class Fate:
    """The writes at which the process dies, and whether just before or just after they took effect."""

    deaths: set[int] = field(default_factory=set)
    done: int = 0
    after: bool = False

    def strikes(self) -> bool:
        self.done += 1
        return self.done in self.deaths


class Mortal(Collection):
    def __init__(self, database: Any, name: str, fate: Fate) -> None:
        super().__init__(database, name)
        self._fate = fate

    async def _write(self, command: str, field: str, rows: Any) -> int:
        if not rows or not self._fate.strikes():
            return await super()._write(command, field, rows)
        if self._fate.after:
            await super()._write(command, field, rows)
        raise Died

    async def delete(self, wanted: Row) -> int:
        if not self._fate.strikes():
            return await super().delete(wanted)
        if self._fate.after:
            await super().delete(wanted)
        raise Died


@dataclass
class Person:
    customer_id: str
    partition: int
    said: list[bytes] = field(default_factory=list)
    held: dict[str, Membership] = field(default_factory=dict)
    forgotten: bool = False


class Output:
    """The records of guanxi.segments.v1, repeats of old ones among them, and what is true after them."""

    def __init__(self, chance: random.Random, people: int) -> None:
        self._chance = chance
        self._at = START
        self.people = [Person(f"{n:08x}-0000-4000-8000-000000000000", n % PARTITIONS) for n in range(people)]
        self.records: dict[int, list[Record]] = {number: [] for number in range(PARTITIONS)}
        self.moves: Moves = Counter()

    def grow(self, count: int) -> None:
        kinds = [self._change] * 12 + [self._repeat] * 4 + [self._forget, self._tick]
        for _ in range(count):
            self._at += self._chance.randrange(5 * HOUR)
            self._chance.choice(kinds)()

    def sizes(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        for person in self.people:
            for dimension, value in person.held.items():
                for one in value if isinstance(value, tuple) else (value,):
                    if one is not None:
                        found.setdefault(dimension, Counter())[one] += 1
        return found

    def members(self) -> set[tuple[str, str]]:
        """(segment, customer) of everybody who is in a value."""
        held = [(p.customer_id, d, v) for p in self.people for d, v in p.held.items() if v is not None]
        return {
            (segment_of(dimension, one), customer)
            for customer, dimension, value in held
            for one in (value if isinstance(value, tuple) else (value,))
        }

    def move(self, person: Person, dimension: str, before: Membership, after: Membership) -> None:
        self._moved(dimension, before, after)
        person.held = {**person.held, dimension: after}
        fields = {"changes": [{"dimension": dimension, "from": before, "to": after}], "memberships": person.held}
        data = {"customer_id": person.customer_id, "rules_version": "1", **fields}
        self._say(person, SegmentsChanged.model_validate(data))

    def _change(self) -> None:
        person = self._chance.choice([p for p in self.people if not p.forgotten])
        before, after = dict(person.held), self._others(person.held)
        for dimension in sorted(before.keys() | after.keys()):
            self._moved(dimension, before.get(dimension), after.get(dimension))
        changes = [{"dimension": d, "from": before.get(d), "to": after.get(d)}
                   for d in sorted(before.keys() | after.keys()) if before.get(d) != after.get(d)]  # fmt: skip
        memberships = {d: v for d, v in after.items() if d != COMPOSITES}
        fields = {"changes": changes, "memberships": memberships, "composites": after.get(COMPOSITES) or ()}
        data = SegmentsChanged.model_validate({"customer_id": person.customer_id, "rules_version": "1", **fields})
        person.held = after
        self._say(person, data)

    def _others(self, held: Mapping[str, Membership]) -> dict[str, Membership]:
        """Some dimension differs; now and then all are withdrawn, as by an objection."""
        if held and self._chance.random() < 0.1:
            return {}
        after = dict(held)
        while after == held:
            for dimension in (*VALUES, COMPOSITES):
                if self._chance.random() < 0.5:
                    after[dimension] = self._value(dimension)
        return after

    def _value(self, dimension: str) -> Membership:
        if dimension not in LISTED:
            return self._chance.choice(VALUES[dimension])
        names = VALUES.get(dimension, ("vip", "at_risk"))
        return tuple(sorted(name for name in names if self._chance.random() < 0.5))

    def _forget(self) -> None:
        alive = [p for p in self.people if not p.forgotten and p.said]
        if len(alive) > 3:
            person = self._chance.choice(alive)
            for dimension, value in person.held.items():
                self._moved(dimension, value, None)
            person.held, person.forgotten = {}, True
            self._say(person, CustomerForgotten(customer_id=person.customer_id, receipt_id="r"))

    def _repeat(self) -> None:
        """An old record once more, after newer ones: a zombie, a late send, a commit that failed."""
        said = [p for p in self.people if p.said]
        if said:
            person = self._chance.choice(said)
            self._append(person.partition, person.customer_id.encode(), self._chance.choice(person.said))

    def _tick(self) -> None:
        number = self._chance.randrange(PARTITIONS)
        self._append(number, None, write_mark("segmentation", ClockTicked(), self._at, str(self._at)))

    def _moved(self, dimension: str, before: Membership, after: Membership) -> None:
        if dimension in LISTED:
            left, joined = set(before or ()), set(after or ())
            self.moves.update((dimension, value, None) for value in left - joined)
            self.moves.update((dimension, None, value) for value in joined - left)
        elif before != after:
            self.moves[dimension, before, after] += 1  # type: ignore[index]

    def _say(self, person: Person, data: SegmentsChanged | CustomerForgotten) -> None:
        number = len(person.said) + 1
        text = write("segmentation", person.customer_id, number, data, self._at, Cause("", "c"), "customers:0:1")
        person.said.append(text.encode())
        self._append(person.partition, person.customer_id.encode(), person.said[-1])

    def _append(self, partition: int, key: bytes | None, value: bytes) -> None:
        records = self.records[partition]
        records.append(Record(SEGMENTS.name, partition, len(records), self._at + DAY, key, value))


class Following:
    """A chronicle over a real store that is begun anew after each death, from what was committed last."""

    def __init__(self, database: Any, output: Output, chance: random.Random, fate: Fate) -> None:
        self._database = database
        self._output = output
        self._chance = chance
        self.fate = fate
        self.committed = dict.fromkeys(range(PARTITIONS), 0)
        self.deaths = 0
        self._begin()

    def _begin(self) -> None:
        rows = {
            name: Mortal(self._database, name, self.fate) for name in (CHANGES, MEMBERS, SIZES, FLOWS, TRAIL, WANTED)
        }
        self.changes, self.trail = Changes(rows[CHANGES]), Trail(rows[TRAIL])
        self.ledgers = Ledgers(rows[SIZES], rows[FLOWS])
        self.members = Members(rows[MEMBERS])
        self.remaking = Remaking(rows[WANTED], self.changes, self.members, self.ledgers, self.trail)
        nobody: Any = None
        snapshot = Snapshot(self.changes, nobody, _no_numbers, wall_clock)
        self.chronicle = Chronicle(
            self.changes, self.members, self.ledgers, self.trail, snapshot, self.remaking, wall_clock
        )
        self.position = dict(self.committed)

    async def catch_up(self) -> None:
        while any(self.position[number] < len(self._output.records[number]) for number in self.position):
            try:
                await self._step()
            except Died:
                self.deaths += 1
                self._begin()
        self.committed = dict(self.position)

    async def _step(self) -> None:
        cuts = {number: self.position[number] + self._chance.randrange(12) for number in self.position}
        batch = [
            record
            for number, cut in cuts.items()
            for record in self._output.records[number][self.position[number] : cut]
        ]
        await self.chronicle.take(batch)
        for record in batch:
            self.position[record.partition] = record.offset + 1
        if self._chance.random() < 0.6:
            self.committed = dict(self.position)

    async def sizes(self) -> Sizes:
        return summed(tally.sizes for tally in await self.ledgers.tallies())


class SeatOfAll:
    """Owns everything; a rewind is a commit."""

    def __init__(self, following: Following) -> None:
        self._following = following

    @property
    def owned(self) -> Group[TopicPartition]:
        return [TopicPartition(SEGMENTS.name, number) for number in range(PARTITIONS)]

    def read_to_end(self, partition: TopicPartition) -> bool:
        return True

    async def rewind(self, positions: Mapping[TopicPartition, int]) -> bool:
        for place, offset in positions.items():
            self._following.committed[place.partition] = self._following.position[place.partition] = offset
        return True


async def _no_numbers(_ids: Group[str]) -> Mapping[str, int]:
    return {}
