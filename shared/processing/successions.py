"""Those of a worker's partitions that are held at a succession, one of them and one step at a time."""

from collections.abc import Mapping

from shared.processing.domain import Successive, successor
from shared.processing.handover import Handover
from shared.processing.owned import Owned
from shared.processing.ports import LogScanner, Store
from shared.processing.retry import Retry
from shared.processing.shadow import Shadow
from shared.processing.succession import Succession
from shared.processing.versions import Lineage, VersionStore


class Successions:
    """Which handover is under way. It is kept in memory only: whoever takes over begins it anew, and finds most of it done."""

    def __init__(
        self, lineage: Lineage, topics: tuple[str, ...], scanner: LogScanner, store: Store, retry: Retry
    ) -> None:
        self._lineage = lineage
        self._topics = topics
        self._scanner = scanner
        self._store = store
        self._retry = retry
        self._current: tuple[Owned, Handover] | None = None

    @staticmethod
    def next(owned: Mapping[int, Owned]) -> Owned | None:
        """The first partition that is held and whose timers have all fired up to the record."""
        return next((one for one in owned.values() if one.held is not None and one.overdue() is None), None)

    async def handover(self, owned: Owned) -> Handover:
        """FatalError where the activated text cannot be used; then nothing has changed."""
        if self._current is None or self._current[0] is not owned:
            self._current = owned, await self._begin(owned)
        return self._current[1]

    async def complete(self, owned: Owned, handover: Handover) -> None:
        """All customers have changed over: from now on the partition is under the successor, and any owner will know."""
        versions, number = self._versions, handover.succession.written.number
        await self._retry("noting a version's end", lambda: versions.finished(number, owned.partition))
        await self._retry("dropping a shadow", lambda: self._drop(number))
        self._current = None

    async def _begin(self, owned: Owned) -> Handover:
        assert owned.held is not None  # noqa: S101 - the caller's condition, said for the type checker
        held, domain = owned.held, owned.domain
        written = successor(domain, held.event)
        successive = self._lineage.succeeding(domain, written) if written is not None else None
        assert written is not None and isinstance(successive, Successive)  # noqa: S101, PT018 - it is held for that
        versions, offset = self._versions, held.record.offset
        await self._retry("noting a version's beginning", lambda: versions.began(written, owned.partition, offset))
        shadow = Shadow(successive, self._scanner, self._topics, owned.partition, versions)
        stops = {**owned.applied, held.record.topic: offset + 1}
        return Handover(Succession(successive, held, owned.time), stops, shadow, self._store, self._retry)

    async def _drop(self, number: int) -> None:
        """With its last partition the shadow has done its work."""
        partitions = len(await self._scanner.range(self._topics[0]))
        found = next(version for version in await self._versions.all() if version.number == number)
        if len(found.done) == partitions:
            await self._versions.drop_shadow(number)

    @property
    def _versions(self) -> VersionStore:
        assert self._lineage.versions is not None  # noqa: S101 - a domain that is succeeded has versions
        return self._lineage.versions
