"""Which rules hold where, for whoever reads: each customer is explained by the version that its state was made under."""

from typing import Any

from services.segmentation.versions import VersionedSegmentation
from shared.events.catalog import PARTITIONS
from shared.processing.domain import FIRST_VERSION
from shared.processing.versions import Version, VersionStore, newest_active

Answer = dict[str, Any]


class RulesInForce:
    """`first`: what this process was configured with; it gives way to what the service was first started with."""

    def __init__(self, first: VersionedSegmentation, versions: VersionStore) -> None:
        self._first = first
        self._versions = versions
        self._known: dict[int, VersionedSegmentation] = {}

    async def of(self, number: int) -> VersionedSegmentation:
        """The domain of a version; of the first one where the store does not know the number (yet)."""
        if number not in self._known:
            found = [version for version in await self.all() if version.number == number]
            if not found:
                return self._first
            self._known[number] = self._first.succeeded_by(found[0].written)
        return self._known[number]

    async def newest(self) -> VersionedSegmentation:
        """The newest that was activated anywhere."""
        version = newest_active(await self.all())
        return await self.of(FIRST_VERSION if version is None else version.number)

    async def all(self) -> list[Version]:
        return await self._versions.all()


def standing(versions: list[Version]) -> Answer:
    """The version of each partition, and how far an activation or a preparation is that is under way."""
    return {
        "versions": {str(partition): _under(partition, versions) for partition in range(PARTITIONS)},
        "activation": next((_activation(v) for v in reversed(versions) if v.positions and not _complete(v)), None),
        "shadow": next((_shadow(v) for v in reversed(versions) if v.prepared), None),
    }


def _under(partition: int, versions: list[Version]) -> int:
    return max((version.number for version in versions if partition in version.done), default=FIRST_VERSION)


def _complete(version: Version) -> bool:
    return len(version.done) == PARTITIONS


def _activation(version: Version) -> Answer:
    positions = {str(partition): offset for partition, offset in sorted(version.positions.items())}
    return {"number": version.number, "positions": positions, "done": sorted(version.done)}


def _shadow(version: Version) -> Answer:
    """`records`: per partition, how many are folded and kept."""
    records = {str(partition): found.records for partition, found in sorted(version.prepared.items())}
    return {"number": version.number, "records": records}
