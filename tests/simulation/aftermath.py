"""What is tried on a world at rest: the engine's own verification, and the whole log delivered once more."""

import json
from collections.abc import AsyncIterator
from typing import Any

from shared.events.catalog import inputs_of
from shared.processing.document import Document
from shared.processing.memory import MemoryScanner
from shared.processing.records import TopicPartition
from shared.processing.verify import Verification
from tests.simulation.world import World
from tests.support.checkers import documents_of, may_be_disordered, poisoned_in


async def verified(world: World) -> list[str]:
    """I8, by the engine's own means. Whoever was parked in vain is told by the fold; here the domain is mended."""
    found: list[str] = []
    excused = poisoned_in(world)
    for service, domain in world.domains.items():
        documents = documents_of(world, service)

        async def stops(number: int, service: str = service) -> dict[str, int]:
            """All that was applied; a commit may have landed in reverse order and say less."""
            return {t.name: world.log.end(TopicPartition(t.name, number)) for t in inputs_of(service)}

        async def live(number: int, documents: dict[str, Document] = documents) -> AsyncIterator[Document]:
            for document in documents.values():
                if document.partition == number:
                    yield document

        topics = tuple(topic.name for topic in inputs_of(service))
        verification = Verification(domain, MemoryScanner(world.log), topics, stops, live)
        for number in range(world.plan.partitions):
            await verification.partition(number)
        verdict = verification.verdict
        differing = {key for key in (*verdict.differing, *verdict.moving) if key not in excused}
        differing = {k for k in differing if k not in documents or not may_be_disordered(world, service, documents[k])}
        found += [f"verify: {service} differs for {sorted(key[-2:] for key in differing)}"] if differing else []
    return found


async def replayed(world: World) -> list[str]:
    """I17: every group begins at offset 0 again, and nothing changes but what belongs to delivery."""
    if world.plan.seed % 5 or world.nature.struck.get("commit late"):
        return []
    before = {service: effects(world, service) for service in world.domains}
    said = {service: numbered(world, service) for service in world.domains}
    await world.again()
    return [
        f"replay: {service} is changed by the log coming again"
        for service in world.domains
        if effects(world, service) != before[service] or numbered(world, service) != said[service]
    ]


def effects(world: World, service: str) -> dict[str, Any]:
    """Positions are left out too: what a neighbour repeats has new ones, and is passed over there (by whoever is parked
    for good, once it resumes). So is the bracket that a customer was first seen in: once ended it means nothing, and it goes
    whenever the document is next touched."""
    left_out = ("rev", "outbox", "unsent", "positions", "history")
    found: dict[str, Any] = {}
    for key, text in world.stores[service]._texts.items():
        fields = {name: value for name, value in json.loads(text).items() if name not in left_out}
        if "parked" in fields:
            fields["parked"]["waiting"] = None
        found[key] = fields
    return found


def numbered(world: World, service: str) -> set[bytes]:
    """The distinct events said: repeats are harmless, another meaning is not."""
    output = world.output(service)
    records = (r for n in range(world.plan.partitions) for r in world.records(output, n))
    return {record.value or b"" for record in records if record.key is not None}
