"""Which customer an offer is about: asked of memory, then of the store, else a new one."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence

from services.intake.domain import Offer
from services.intake.store import IntakeStore

SECONDS = 60.0
MOST = 100_000


class KnownKeys:
    """Identity keys (and customer ids, under themselves) that were seen lately; bounded, and forgotten after a minute."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._monotonic = monotonic
        self._most = most
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._avoided: frozenset[str] | None = frozenset()

    def get(self, key: str) -> str | None:
        found = self._known.get(key)
        return found[1] if found is not None and found[0] > self._monotonic() else None

    def put(self, keys: Iterable[str], customer_id: str) -> None:
        if self._avoided is None or customer_id in self._avoided:
            return
        until = self._monotonic() + SECONDS
        for key in keys:
            self._known.pop(key, None)
            self._known[key] = (until, customer_id)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def avoid(self, customer_ids: Collection[str] | None) -> None:
        """Those that are about to be erased are asked of the store every time. None: all, because nobody knows who is."""
        before, self._avoided = self._avoided, None if customer_ids is None else frozenset(customer_ids)
        if self._avoided is None:
            self._known.clear()
        elif new := self._avoided - (before or frozenset()):
            self._forget(new)

    def forget(self, customer_id: str) -> None:
        self._forget({customer_id})

    def _forget(self, customer_ids: Collection[str]) -> None:
        for key in [key for key, (_, known) in self._known.items() if known in customer_ids]:
            del self._known[key]


class Identities:
    """`ours`: ids of batches that this process will send before anything that it takes in now."""

    def __init__(self, store: IntakeStore, known: KnownKeys, ours: Callable[[], Collection[str]]) -> None:
        self._store = store
        self._known = known
        self._ours = ours

    async def owners(self, offers: Sequence[Offer]) -> tuple[dict[str, str], set[str]]:
        """Key to customer for all keys of these offers, and the keys whose customer another process is registering now."""
        keys = {key for offer in offers for key in offer.person.keys.values()}
        owners = {key: known for key in keys if (known := self._known.get(key)) is not None}
        stored = await self._store.owners(keys - owners.keys())
        foreign = {batch for _, batch in stored.values()} - set(self._ours())
        pending = await self._store.pending_among(foreign)
        for key, (customer_id, batch) in stored.items():
            owners[key] = customer_id
            if batch not in pending:
                self._known.put([key], customer_id)
        return owners, {key for key, (_, batch) in stored.items() if batch in pending}
