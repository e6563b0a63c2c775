"""The invariants of a simulated world at rest, each a function that yields what is wrong (numbers: the reliability page's)."""

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from shared.clock import from_rfc3339
from shared.events.catalog import OUTPUT, TOPICS, dead_letters, group_of, inputs_of
from shared.events.customers import SurveyAnswered
from shared.processing.document import Document, from_fields
from shared.processing.records import TopicPartition
from tests.simulation.world import World
from tests.support.fold import CUSTOMERS, Fold, Person, read

MARKS_AT_REST = 0
"""What may still be passed on when patience with a quiet input runs out."""


class Findings:
    """What the checkers look at, read once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.documents = {service: documents_of(world, service) for service in world.domains}
        self.folds = {service: folds_of(world, service) for service in world.domains}
        self.people = {service: people_of(folds) for service, folds in self.folds.items()}
        self.said = {service: said_by(world, service) for service in world.domains}
        self.poisoned = poisoned_in(world)


def check(world: World) -> list[str]:
    """Everything that is wrong; empty when all is as promised."""
    found = Findings(world)
    checks = (
        stops,
        kept_before_said,
        only_nonsense_parks,
        rebuild_equals_live,
        numbers,
        partitions,
        tasks_once,
        causes,
        liveness,
        dead_lettered,
        bounds,
    )
    return [f"{checker.__name__}: {problem}" for checker in checks for problem in checker(found)]


def poisoned_in(world: World) -> set[str]:
    """Customers that a domain with its mistake must have parked."""
    found = set()
    for number in range(world.plan.partitions):
        for record in world.records(CUSTOMERS, number):
            event = read(record)
            if record.key and (event is None or isinstance(event.data, SurveyAnswered)):
                found.add(record.key.decode())
    return found


def documents_of(world: World, service: str) -> dict[str, Document]:
    return {key: from_fields(json.loads(text)) for key, text in world.stores[service]._texts.items()}


def folds_of(world: World, service: str) -> list[Fold]:
    return [
        Fold(world.domains[service]).run({topic.name: world.records(topic.name, n) for topic in inputs_of(service)})
        for n in range(world.plan.partitions)
    ]


def people_of(folds: list[Fold]) -> dict[str, Person]:
    return {key: person for fold in folds for key, person in fold.people.items()}


def said_by(world: World, service: str) -> dict[str, list[bytes]]:
    """Per customer, all records on the output in log order, repeats included."""
    found: dict[str, list[bytes]] = {}
    for number in range(world.plan.partitions):
        for record in world.records(OUTPUT[service].name, number):
            if record.key is not None:
                found.setdefault(record.key.decode(), []).append(record.value or b"")
    return found


def stops(found: Findings) -> Iterator[str]:
    """No worker gave up: nothing that happens here is beyond repair."""
    yield from found.world.stopped


def kept_before_said(found: Findings) -> Iterator[str]:
    """I2: see World._witness."""
    yield from found.world.too_early


def rebuild_equals_live(found: Findings) -> Iterator[str]:
    """I1, I3, I8: the fold of the log is the live document and has said the very same things."""
    for service, people in found.people.items():
        live = found.documents[service]
        for key in sorted({*people, *live}):
            if key not in people or key not in live:
                yield f"{service} {key[-2:]}: only in {'the log' if key in people else 'the store'}"
            elif not may_be_disordered(found.world, service, live[key]):
                yield from (f"{service} {key[-2:]}: {p}" for p in differences(found, service, people[key], live[key]))


def may_be_disordered(world: World, service: str, document: Document) -> bool:
    """Where patience ran out, order is that of arrival; a worker that takes over knows only its own impatience."""
    return document.disordered or (world.count(service, "impatient") > 0 and bool(world.nature.struck))


def differences(found: Findings, service: str, person: Person, document: Document) -> Iterator[str]:
    state = None if person.erased else person.state
    for name, expected, actual in (
        (
            "state",
            state,
            found.world.domains[service].state_type.model_validate_json(document.state) if document.state else None,
        ),
        ("at", person.at, document.at),
        ("wake_at", person.wake, document.wake_at),
        ("sequence", person.sequence, document.sequence),
        ("erased", person.erased, document.erased),
        ("applied", person.applied, document.applied),
        ("positions", person.positions, document.positions),
        ("parked", waiting_of(person), waiting_in(document)),
    ):
        if name == "sequence" and erased_while_parked(found, person):
            return
        if expected != actual and not (name == "state" and actual is None and person.sequence == 0 and person.at == 0):
            yield f"{name} is {actual}, the log says {expected}"
    first = list(dict.fromkeys(found.said[service].get(document.id, [])))
    for number, (actual, expected) in enumerate(zip_longest(map(essence, first), person.said), 1):
        if actual is not None and expected is not None and document.id in found.poisoned:
            actual["inputs"] = at_least(actual["inputs"], expected["inputs"])
        if actual != expected:
            yield f"said as number {number} {unlike(actual, expected)}"


def erased_while_parked(found: Findings, person: Person) -> bool:
    """What waited was never told, and never will be; the fold's domain has no mistake, so nobody waited there."""
    return person.erased and person.id in found.poisoned


def at_least(actual: str, expected: str) -> str:
    """Who was parked had its positions moved on while it waited: what it says after resuming names later ones."""
    have = dict(pair.rsplit(":", 1) for pair in actual.split(","))
    want = dict(pair.rsplit(":", 1) for pair in expected.split(","))
    return expected if all(int(have.get(key, -1)) >= int(offset) for key, offset in want.items()) else actual


def unlike(actual: dict[str, Any] | None, expected: dict[str, Any] | None) -> str:
    if actual is None or expected is None:
        return f"{actual}, the log says {expected}"
    names = [name for name in expected if actual.get(name) != expected[name]]
    return f"{[(name, actual.get(name)) for name in names]}, the log says {[expected[name] for name in names]}"


def waiting_of(person: Person) -> list[tuple[str, int, int]] | None:
    return None if person.waiting is None else [(r.topic, r.offset, until) for r, until in person.waiting]


def waiting_in(document: Document) -> list[tuple[str, int, int]] | None:
    if document.parked is None:
        return None
    return [(w.topic, w.offset, w.partition_time) for w in document.parked.waiting]


def essence(value: bytes) -> dict[str, Any]:
    event = json.loads(value)
    mark = "history" if event.get("history") else "replay" if event.get("replay") else None
    kept = {name: event.get(name) for name in ("sequence", "type", "time", "causationid", "inputs", "data")}
    return kept | {"mark": mark}


def numbers(found: Findings) -> Iterator[str]:
    """I4: 1..n without gaps, first occurrences ascend, repeats are the same bytes; all that the document counted is said."""
    for service, said in found.said.items():
        for key, values in said.items():
            first: dict[int, bytes] = {}
            for value in values:
                number = int(json.loads(value)["sequence"])
                if number in first and first[number] != value:
                    yield f"{service} {key[-2:]}: number {number} has two meanings"
                elif number not in first and number != len(first) + 1:
                    yield f"{service} {key[-2:]}: number {number} came after {len(first)}"
                first[number] = value
        for key, document in found.documents[service].items():
            if (n := len(set(said.get(key, [])))) != document.sequence:
                yield f"{service} {key[-2:]}: {n} said of {document.sequence}"


def partitions(found: Findings) -> Iterator[str]:
    """I5: a customer is in one partition only, of every topic the same."""
    seen: dict[bytes, set[int]] = {}
    for topic in TOPICS:
        for number in range(found.world.plan.partitions):
            for record in found.world.records(topic.name, number):
                if record.key is not None and "dead-letters" not in topic.name:
                    seen.setdefault(record.key, set()).add(number)
    yield from (f"{key!r} in {places}" for key, places in seen.items() if len(places) > 1)


def tasks_once(found: Findings) -> Iterator[str]:
    """I6: a task ends once, and falls due once for each time that it was (re)scheduled, not before the instant named."""
    for key, values in found.said.get("followup", {}).items():
        tasks: dict[str, list[dict[str, Any]]] = {}
        for event in (json.loads(value) for value in dict.fromkeys(values)):
            if "task_id" in event["data"]:
                tasks.setdefault(event["data"]["task_id"], []).append(event)
        for name, events in tasks.items():
            yield from (f"{key[-2:]} task {name} {problem}" for problem in task_problems(events))


def task_problems(events: list[dict[str, Any]]) -> Iterator[str]:
    due_at: str | None = None
    ended = False
    for event in events:
        what = event["type"].split(".")[2]
        if what in ("scheduled", "rescheduled"):
            due_at = event["data"]["due_at"]
        elif what == "due":
            if due_at is None or from_rfc3339(event["time"]) < from_rfc3339(due_at):
                yield f"is due at {event['time']}, promised for {due_at}"
            due_at = None
        elif what in ("completed", "missed", "cancelled"):
            if ended:
                yield "ends twice"
            ended = True


def causes(found: Findings) -> Iterator[str]:
    """I2, I9: what is said has a cause among the inputs that its `inputs` name, or a timer."""
    for service, said in found.said.items():
        ids = input_ids(found.world, service)
        for value in {value for values in said.values() for value in values}:
            event = json.loads(value)
            cause = event["causationid"]
            if not cause.startswith("timer:") and cause not in ids:
                yield f"{service}: {cause} caused something and is nowhere"


def input_ids(world: World, service: str) -> set[str]:
    records = [r for t in inputs_of(service) for n in range(world.plan.partitions) for r in world.records(t.name, n)]
    return {event.id for record in records if (event := read(record)) is not None}


def liveness(found: Findings) -> Iterator[str]:
    """I10: nothing waits: no lag, no unsent event, nothing overdue. A mark of time may wait for the next record; a
    commit that landed late says less than was applied (as the fold proves) until the next one, and costs a repeat."""
    for service, documents in found.documents.items():
        offsets = found.world.log.group(group_of(service)).offsets
        for topic in inputs_of(service):
            for number in range(found.world.plan.partitions):
                place = TopicPartition(topic.name, number)
                left = found.world.log.read(place, offsets[place].offset, 1 << 30)
                reversed_ = any(name in found.world.nature.struck for name in ("commit late", "commit crash_late"))
                if not reversed_ and any(
                    (event := read(record)) is None or event.subject is not None for record in left
                ):
                    yield f"{service} {place}: {offsets[place].offset} of {found.world.log.end(place)}"
        for key, document in documents.items():
            if document.unsent:
                yield f"{service} {key[-2:]}: unsent"
            if document.wake_at is not None and document.wake_at < found.world.clock() - 2_000:
                yield f"{service} {key[-2:]}: overdue since {document.wake_at}"


def dead_lettered(found: Findings) -> Iterator[str]:
    """I11: what belongs to nobody is set aside, each at least once, and nothing else is."""
    for service, folds in found.folds.items():
        expected = {(topic, n, offset) for n, fold in enumerate(folds) for topic, offset in fold.unreadable}
        actual = set()
        for number in range(found.world.plan.partitions):
            for record in found.world.records(dead_letters(service).name, number):
                headers = dict(record.headers)
                actual.add((headers["original-topic"].decode(), number, int(headers["original-offset"])))
        if expected != actual:
            yield f"{service}: set aside {sorted(actual)}, unreadable were {sorted(expected)}"


def only_nonsense_parks(found: Findings) -> Iterator[str]:
    """In the end every domain is mended and everybody was asked to resume: only what cannot be read still waits."""
    for service, documents in found.documents.items():
        for key, document in documents.items():
            records = [
                record for n in range(found.world.plan.partitions) for record in found.world.records(CUSTOMERS, n)
            ]
            nonsense = any((r.value or b"").startswith(b"nonsense") for r in records if r.key == key.encode())
            if document.parked is not None and not nonsense:
                yield f"{service} {key[-2:]}: {document.parked.error}"


def bounds(found: Findings) -> Iterator[str]:
    """I19: a world at rest says nothing more; ticks cost as timers do."""
    if sum(after - before for before, after in found.world.still_growing.values()) > MARKS_AT_REST:
        yield f"goes on talking: {found.world.still_growing}"
