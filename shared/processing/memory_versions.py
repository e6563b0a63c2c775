"""Versions and shadows in memory, with the semantics of those in MongoDB: tests and the simulation drive them."""

from dataclasses import replace

from shared.events.customers import RulesActivated
from shared.processing.memory_store import MemoryStore
from shared.processing.versions import Prepared, Version


class MemoryVersions:
    def __init__(self) -> None:
        self._kept: dict[int, Version] = {}
        self._shadows: dict[int, MemoryStore] = {}

    async def all(self) -> list[Version]:
        return [self._kept[number] for number in sorted(self._kept)]

    async def keep(self, written: RulesActivated) -> Version:
        kept = self._kept.get(written.number, Version(written.number, written.rules, written.digest))
        self._kept[written.number] = kept = replace(kept, called_off=False)
        return kept

    async def prepared(self, number: int, partition: int, prepared: Prepared) -> bool:
        kept = self._kept.get(number)
        if kept is None or kept.called_off:
            return False
        self._kept[number] = replace(kept, prepared={**kept.prepared, partition: prepared})
        return True

    async def began(self, written: RulesActivated, partition: int, position: int) -> None:
        kept = self._kept.get(written.number)
        if kept is None or kept.digest != written.digest:
            await self.drop_shadow(written.number)
            kept = Version(written.number, written.rules, written.digest)
        positions = {**kept.positions, partition: position}
        self._kept[written.number] = replace(kept, positions=positions, called_off=False)

    async def finished(self, number: int, partition: int) -> None:
        kept = self._kept[number]
        self._kept[number] = replace(kept, done=kept.done | {partition})

    async def call_off(self, number: int) -> bool:
        kept = self._kept.get(number)
        if kept is not None and kept.positions:
            return False
        if kept is not None:
            self._kept[number] = replace(kept, called_off=True, prepared={})
            await self.drop_shadow(number)
        return True

    async def shadow(self, number: int) -> MemoryStore:
        return self._shadows.setdefault(number, MemoryStore())

    async def drop_shadow(self, number: int) -> None:
        """`prepared` goes first: it must never say more than the shadow holds."""
        kept = self._kept.get(number)
        if kept is not None:
            self._kept[number] = replace(kept, prepared={})
        self._shadows.pop(number, None)
