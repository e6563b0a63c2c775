"""Where each service's consumer group stands: begun for new groups, mended on request. `auto.offset.reset` is none, so somebody must."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownMemberIdError
from aiokafka.structs import OffsetAndMetadata

from deploy.programs import reader
from shared.events.catalog import Topic
from shared.processing.kafka import KafkaConnection, group_positions, start_or_stop, stop_quietly
from shared.processing.ports import TransientError
from shared.processing.records import TopicPartition as Place

_SECONDS = 30


class ProvisionError(Exception):
    """Kafka is not as the catalogue says and must not be changed silently; the message says what to do."""


@dataclass(slots=True)
class Report:
    """`done`: what was changed, one line each. `wrong`: what only a repair may change."""

    done: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class GroupOffsets:
    """`repair` also sets offsets that are missing in a group that has others, or that lie outside the log."""

    def __init__(self, bootstrap: str, report: Report, *, repair: bool) -> None:
        self._connection = KafkaConnection(bootstrap, "guanxi-provision")
        self._report = report
        self._repair = repair

    async def ensure(self, group: str, inputs: Sequence[Topic]) -> None:
        """A group that never read a topic starts at its first record; what it applied already, it skips."""
        committed = await self._committed(group, inputs)
        bounds = await self._bounds(list(committed))
        wanted: dict[TopicPartition, int] = {}
        for topic in inputs:
            own = {place: offset for place, offset in committed.items() if place.topic == topic.name}
            if all(offset is None for offset in own.values()):
                wanted |= {place: bounds[place][0] for place in own}
                self._report.done.append(f"{group} starts {topic.name} at its first record")
            else:
                wanted |= self._mended(group, own, bounds)
        if wanted:
            await self._commit(group, wanted)

    def _mended(
        self, group: str, own: Mapping[TopicPartition, int | None], bounds: Mapping[TopicPartition, tuple[int, int]]
    ) -> dict[TopicPartition, int]:
        wrong = {p: o for p, o in own.items() if o is None or not bounds[p][0] <= o <= bounds[p][1]}
        told = [_describe(group, place, offset, *bounds[place]) for place, offset in sorted(wrong.items())]
        (self._report.done if self._repair else self._report.wrong).extend(told)
        return {place: bounds[place][0] for place in wrong} if self._repair else {}

    async def _committed(self, group: str, inputs: Sequence[Topic]) -> dict[TopicPartition, int | None]:
        """On a fresh broker the coordinator of groups takes a moment to exist: asked again until it does."""
        places = [Place(topic.name, number) for topic in inputs for number in range(topic.partitions)]
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                found = await group_positions(self._connection, group, places)
                break
            except TransientError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
        return {TopicPartition(p.topic, p.partition): found[p].offset if p in found else None for p in places}

    async def _bounds(self, places: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        consumer = self._connection.consumer()
        await start_or_stop(consumer)
        try:
            first = await consumer.beginning_offsets(places)
            end = await consumer.end_offsets(places)
        finally:
            await stop_quietly(consumer)
        return {place: (first[place], end[place]) for place in places}

    async def _commit(self, group: str, wanted: Mapping[TopicPartition, int]) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._connection.bootstrap, group_id=group, enable_auto_commit=False
        )  # fmt: skip
        await start_or_stop(consumer)
        try:
            consumer.assign(list(wanted))
            offsets = {place: OffsetAndMetadata(offset, "") for place, offset in wanted.items()}
            async with asyncio.timeout(_SECONDS):
                await consumer.commit(offsets)
        except UnknownMemberIdError as error:
            program = reader(group)
            raise ProvisionError(f"{group} is at work: stop it first (guanxi scale {program} 0)") from error
        except KafkaError as error:
            raise ProvisionError(f"the offsets of {group} cannot be set: {error!r}") from error
        finally:
            await stop_quietly(consumer)


def _describe(group: str, place: TopicPartition, offset: int | None, first: int, last: int) -> str:
    where = f"{group} on {place.topic}:{place.partition}"
    if offset is None:
        return f"{where} has no offset: from the first record ({first}) again, what was applied is skipped"
    if offset < first:
        return f"{where} stands at {offset}, but the log begins at {first}: {first - offset} records are lost"
    return f"{where} stands at {offset}, but the log ends at {last}: it was made anew; run `guanxi rebuild` after this"
