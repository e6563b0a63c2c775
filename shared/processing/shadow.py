"""One partition folded under one version alone, ahead of its activation, and kept in a collection of its own as it goes."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.processing.document import Document
from shared.processing.domain import Domain, version_of
from shared.processing.ports import FatalError, LogScanner, Store, TransientError
from shared.processing.replay import Replay
from shared.processing.versions import Prepared, VersionStore

KEPT_EVERY = 20_000
"""Records after which what was folded is kept: what a crash costs at most."""
IN_MEMORY = 20_000
"""Customers of one partition that stay in memory."""


class Shadow:
    """Resumes from what was kept. Two may fold the same partition, as its owner and whoever prepares it: what they write
    is the same, and who finds itself overtaken goes on from what the other has kept."""

    def __init__(
        self,
        domain: Domain[Any],
        scanner: LogScanner,
        topics: tuple[str, ...],
        partition: int,
        versions: VersionStore,
    ) -> None:
        self._domain = domain
        self._scanner = scanner
        self._topics = topics
        self._partition = partition
        self._versions = versions
        self._replay: Replay | None = None
        self._store: Store | None = None
        self._before = 0
        self._kept = 0

    @property
    def records(self) -> int:
        """Folded so far, whoever did it."""
        return self._before + (self._replay.applied if self._replay is not None else 0)

    async def step(self, stops: Mapping[str, int], limit: int) -> bool:
        """Folds at most about `limit` records. False: all before `stops` is folded. After a TransientError it may be
        asked again: it begins anew from what was kept."""
        replay = self._replay or await self._open()
        try:
            more = await replay.step(stops, limit)
            self._refuse_succession(replay)
            if replay.applied - self._kept >= KEPT_EVERY:
                await self._keep(replay)
        except TransientError:
            self._replay = None
            raise
        return more or self._replay is None

    async def rest(self) -> None:
        """Keeps what was folded, and nothing in memory. TransientError: begin anew, as in `step`."""
        replay, self._replay = self._replay, None
        if replay is not None and replay.applied != self._kept:
            await self._keep(replay)
        if replay is not None:
            self._before += replay.applied

    async def load(self, customer_ids: Iterable[str]) -> dict[str, Document]:
        assert self._replay is not None  # noqa: S101 - `step` has come to its end
        return await self._replay.load(customer_ids)

    async def _open(self) -> Replay:
        number = version_of(self._domain)
        self._store = await self._versions.shadow(number)
        await self._store.unsent(self._partition)  # frees what a killed predecessor holds
        found = [version.prepared for version in await self._versions.all() if version.number == number]
        prepared = found[0].get(self._partition) if found else None
        replay = Replay(self._domain, self._scanner, self._topics, self._partition)
        positions = {} if prepared is None else prepared.positions
        await replay.go_on(positions or replay.positions(), self._store)
        self._before, self._kept = (0 if prepared is None else prepared.records), 0
        self._replay = replay
        return replay

    async def _keep(self, replay: Replay) -> None:
        """First the documents, then how far they are: they may be ahead of what is said of them, never behind."""
        assert self._store is not None  # noqa: S101 - opened with the replay
        if not await replay.flush(self._store, IN_MEMORY):
            self._replay = None  # another one has kept more
            return
        prepared = Prepared(replay.positions(), self._before + replay.applied)
        if not await self._versions.prepared(version_of(self._domain), self._partition, prepared):
            raise FatalError(
                f"version {version_of(self._domain)} was called off while it was prepared; activate its file again to go on"
            )
        self._kept = replay.applied

    def _refuse_succession(self, replay: Replay) -> None:
        if replay.successions:
            newer = replay.successions[-1][0].number
            raise FatalError(
                f"version {newer} was activated before version {version_of(self._domain)}, which can no longer be: "
                "activate its file again, as a newer version"
            )
