"""The versions of a service's domain: their texts, how far each was prepared, and from which position on it holds where."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.events.catalog import CUSTOMERS
from shared.events.customers import RulesActivated
from shared.processing.domain import FIRST_VERSION, Domain, Successive
from shared.processing.ports import Store
from shared.processing.records import Committed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """How far a partition's shadow was folded and kept: per topic what comes next, with the partition's time then."""

    positions: Mapping[str, Committed]
    records: int


@dataclass(frozen=True, slots=True)
class Version:
    """`positions`: per partition the offset of the record that activates it there. `done`: where all customers have changed
    over. `called_off`: its shadow was dropped before anything was activated."""

    number: int
    rules: str
    digest: str
    prepared: Mapping[int, Prepared] = field(default_factory=dict)
    positions: Mapping[int, int] = field(default_factory=dict)
    done: frozenset[int] = frozenset()
    called_off: bool = False

    @property
    def written(self) -> RulesActivated:
        return RulesActivated(number=self.number, rules=self.rules, digest=self.digest)

    def holds(self, partition: int, offset: int) -> bool:
        """Whether it was activated before `offset`."""
        return self.positions.get(partition, offset) < offset


class VersionStore(Protocol):
    """One service's versions and the shadows of those that are being prepared. Every method may raise TransientError and
    is harmless to repeat."""

    async def all(self) -> list[Version]:
        """By number."""

    async def keep(self, written: RulesActivated) -> Version:
        """Inserted where the number is new; what is kept under it. A shadow that was called off is wanted again."""

    async def prepared(self, number: int, partition: int, prepared: Prepared) -> bool:
        """False: the version is not known, or was called off."""

    async def began(self, written: RulesActivated, partition: int, position: int) -> None:
        """The log's text wins: what was prepared of another text under this number is forgotten."""

    async def finished(self, number: int, partition: int) -> None: ...

    async def call_off(self, number: int) -> bool:
        """False: it was activated somewhere already."""

    async def shadow(self, number: int) -> Store:
        """The collection in which this version is prepared; made where it is missing."""

    async def drop_shadow(self, number: int) -> None: ...


class Lineage:
    """Which domain a partition is under. Without versions it is always the one that the service began with."""

    def __init__(self, first: Domain[Any], versions: VersionStore | None) -> None:
        self._first = first
        self._versions = versions if isinstance(first, Successive) else None
        self._domains: dict[tuple[int, str], Domain[Any]] = {}

    @property
    def versions(self) -> VersionStore | None:
        return self._versions

    async def begin(self) -> Domain[Any]:
        """Version 1 is what the service was first started with; what a file says later must be activated."""
        if self._versions is not None and isinstance(self._first, Successive):
            offered = self._first.written
            await self._versions.keep(offered)
            _warn(offered, await self._versions.all())
        return await self.recall()

    async def recall(self) -> Domain[Any]:
        """Version 1, as it was kept if the service was ever started."""
        for version in await self._versions.all() if self._versions is not None else []:
            if version.number == FIRST_VERSION:
                self._first = self.succeeding(self._first, version.written)
        return self._first

    async def under(self, partition: int, committed: Mapping[str, Committed]) -> Domain[Any]:
        """The domain that decides what comes next in a partition."""
        versions = await self._versions.all() if self._versions is not None else []
        for version in reversed(versions):
            if version.number > FIRST_VERSION and version.holds(partition, committed[CUSTOMERS.name].offset):
                return self.succeeding(self._first, version.written)
        return self._first

    def succeeding(self, domain: Domain[Any], written: RulesActivated) -> Domain[Any]:
        """Made once per version. FatalError where the text cannot be used."""
        if not isinstance(domain, Successive) or domain.written == written:
            return domain
        key = (written.number, written.digest)
        if key not in self._domains:
            self._domains[key] = domain.succeeded_by(written)
        return self._domains[key]


def newest_active(versions: list[Version]) -> Version | None:
    """The newest version that was activated anywhere."""
    return max((v for v in versions if v.positions), key=lambda version: version.number, default=None)


def _warn(offered: RulesActivated, versions: list[Version]) -> None:
    known = {version.digest for version in versions if version.positions or version.number == FIRST_VERSION}
    if offered.digest not in known:
        newest = newest_active(versions)
        _log.warning(
            "the configured rules were never activated and are not applied; `guanxi rules activate FILE` applies them",
            extra={"rules_version": FIRST_VERSION if newest is None else newest.number},
        )
