"""What must be true of the log whatever was killed: each check gives what is wrong (numbers: reliability page, invariants)."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from shared.events.catalog import CUSTOMERS, OUTPUT, TOPICS, group_of, inputs_of
from tests.support.asyncapi_traffic import committed, faults
from tests.support.load import SOURCE, Load


@dataclass(frozen=True, slots=True)
class Entry:
    """`event` None: not JSON, or nothing at all."""

    topic: str
    partition: int
    offset: int
    at: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    event: Any


@dataclass(slots=True)
class Log:
    """Everything in all topics, read on from where the last look ended."""

    bootstrap: str
    entries: dict[str, list[Entry]] = field(default_factory=lambda: {topic.name: [] for topic in TOPICS})
    checked: int = 0
    _next: dict[tuple[str, int], int] = field(default_factory=dict)

    def refresh(self) -> None:
        consumer = self._consumer("nobody")
        try:
            ends = self._ends(consumer)
            behind = {place for place, end in ends.items() if self._next.get(place, 0) < end}
            consumer.assign([TopicPartition(*place, self._next.get(place, 0)) for place in behind])
            while behind:
                for message in consumer.consume(5_000, 1.0):
                    assert message.error() is None, message.error()
                    self._take(message)
                for place in list(behind):
                    (at,) = consumer.position([TopicPartition(*place)])
                    if max(at.offset, self._next.get(place, 0)) >= ends[place]:
                        behind.discard(place)
                        self._next[place] = max(at.offset, ends[place])
        finally:
            consumer.close()

    def waiting(self, service: str) -> int:
        """Records of customers that the service's group has not committed."""
        consumer = self._consumer(group_of(service))
        try:
            places = [TopicPartition(t.name, n) for t in inputs_of(service) for n in range(t.partitions)]
            found = consumer.committed(places, timeout=60)
        finally:
            consumer.close()
        at = {(place.topic, place.partition): place.offset for place in found}
        return sum(
            entry.offset >= at[topic.name, entry.partition]
            for topic in inputs_of(service)
            for entry in self.entries[topic.name]
            if entry.key is not None
        )

    def _consumer(self, group: str) -> Consumer:
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False,
                         "auto.offset.reset": "error", "log_level": 0})  # fmt: skip

    def _ends(self, consumer: Consumer) -> dict[tuple[str, int], int]:
        places = [(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]
        return {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=60)[1] for place in places}

    def _take(self, message: Any) -> None:
        place = (message.topic(), message.partition())
        if message.offset() < self._next.get(place, 0):
            return
        self._next[place] = message.offset() + 1
        try:
            found = json.loads(message.value() or b"")
            event = found if isinstance(found, dict) else None
        except ValueError:
            event = None
        headers = dict(message.headers() or ())
        self.entries[message.topic()].append(
            Entry(*place, message.offset(), message.timestamp()[1], message.key(), message.value(), headers, event)
        )


@dataclass(slots=True)
class Evidence:
    """`poison`: places in `guanxi.customers.v1` where the test itself wrote what must not be there."""

    log: Log
    load: Load
    poison: set[tuple[int, int]] = field(default_factory=set)

    def sound(self) -> Iterator[Entry]:
        return (e for e in self.log.entries[CUSTOMERS.name] if (e.partition, e.offset) not in self.poison)

    def problems(self) -> list[str]:
        checks: tuple[Callable[[Evidence], Iterator[str]], ...] = (
            lost, phantoms, repeats, gaps, doubled, homes, orphans, malformed, answers,
        )  # fmt: skip
        return [f"{check.__name__}: {problem}" for check in checks for problem in check(self)]


def lost(found: Evidence) -> Iterator[str]:
    """I1: what was acknowledged is in the log, and each complaint has become exactly one case (or one refusal)."""
    there = {e.event["id"] for e in found.sound() if e.event and e.event["source"] == SOURCE}
    cases: Counter[str] = Counter()
    for event in distinct(found.log.entries[OUTPUT["feedback"].name]):
        if event["type"] in ("guanxi.case.opened.v1", "guanxi.case.action_refused.v1"):
            cases[event["causationid"]] += 1
    for command in list(found.load.commands.values()):
        if command.outcome == "ok" and command.id not in there:
            yield f"{command.type} {command.id} was acknowledged and is nowhere"
        elif command.outcome == "ok" and command.complaint and cases[command.id] != 1:
            yield f"complaint {command.id} has {cases[command.id]} cases"


def phantoms(found: Evidence) -> Iterator[str]:
    """I2: nothing of a failed command, nothing that nobody sent."""
    may = {command.id for command in list(found.load.commands.values()) if command.outcome != "failed"}
    for entry in found.sound():
        if entry.event and entry.event["source"] == SOURCE and entry.event["id"] not in may:
            yield f"{entry.event['type']} {entry.event['id']} was never taken in"


def repeats(found: Evidence) -> Iterator[str]:
    """What intake sent again after a crash is the same, byte for byte."""
    first: dict[tuple[str, str], bytes | None] = {}
    for entry in found.sound():
        if (
            entry.event is not None
            and first.setdefault((entry.event["source"], entry.event["id"]), entry.value) != entry.value
        ):
            yield f"{entry.event['id']} has two contents"


def gaps(found: Evidence) -> Iterator[str]:
    """I4: per source and customer 1..n, first occurrences ascend, repeats are the same bytes."""
    for topic in OUTPUT.values():
        known: dict[bytes, list[bytes | None]] = defaultdict(list)
        for entry in found.log.entries[topic.name]:
            if entry.key is not None:
                number, said = int(entry.event["sequence"]), known[entry.key]
                if number == len(said) + 1:
                    said.append(entry.value)
                elif number > len(said):
                    yield f"{topic.short} {entry.key!r}: number {number} after {len(said)}"
                    said += [entry.value] * (number - len(said))
                elif said[number - 1] != entry.value:
                    yield f"{topic.short} {entry.key!r}: number {number} has two meanings"


def doubled(found: Evidence) -> Iterator[str]:
    """I3, I6: one cause has one effect of a kind per task, case and change, however often it was delivered."""
    for topic in OUTPUT.values():
        effects = Counter(map(effect, distinct(found.log.entries[topic.name])))
        yield from (f"{topic.short}: {name} {count} times" for name, count in effects.items() if count > 1)


def effect(event: Mapping[str, Any]) -> tuple[str, ...]:
    data = event["data"]
    about = str(data.get("task_id") or data.get("case_id") or "")
    return (
        event["subject"],
        event["causationid"],
        event["type"],
        about,
        str(data.get("target") or data.get("kind") or ""),
    )


def distinct(entries: list[Entry]) -> Iterator[Mapping[str, Any]]:
    """Each numbered event once."""
    seen: set[str] = set()
    for entry in entries:
        if entry.key is not None and entry.event["id"] not in seen:
            seen.add(entry.event["id"])
            yield entry.event


def homes(found: Evidence) -> Iterator[str]:
    """I5: one customer, one partition, in every topic the same."""
    seen: dict[bytes, set[int]] = defaultdict(set)
    for topic in TOPICS:
        for entry in found.log.entries[topic.name] if topic.key == "customer_id" else ():
            if entry.key is not None:
                seen[entry.key].add(entry.partition)
    yield from (f"{key!r} in {sorted(places)}" for key, places in seen.items() if len(places) > 1)


def orphans(found: Evidence) -> Iterator[str]:
    """I9: a cause exists and is older than its effect."""
    born: dict[str, int] = {}
    for topic in (CUSTOMERS, *OUTPUT.values()):
        for entry in found.log.entries[topic.name]:
            if entry.event is not None:
                born.setdefault(str(entry.event.get("id")), entry.at)
    for topic in OUTPUT.values():
        for entry in found.log.entries[topic.name]:
            cause = entry.event["causationid"] if entry.key is not None else "timer:"
            if not cause.startswith("timer:") and born.get(cause, entry.at + 1) > entry.at:
                yield f"{topic.short} {entry.event['type']}: its cause {cause} is {'younger' if cause in born else 'nowhere'}"


def malformed(found: Evidence) -> Iterator[str]:
    """What was not looked at before is as the AsyncAPI document says."""
    document = committed()
    entries = [entry for some in found.log.entries.values() for entry in some if entry.at > found.log.checked]
    for e in entries:
        if not (e.topic == CUSTOMERS.name and (e.partition, e.offset) in found.poison):
            yield from (
                f"{e.topic} {e.partition}:{e.offset}: {f}" for f in faults(document, e.topic, e.key, e.value, e.headers)
            )
    found.log.checked = max((entry.at for entry in entries), default=found.log.checked)


def answers(found: Evidence) -> Iterator[str]:
    yield from found.load.wrong
