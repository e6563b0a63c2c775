"""The owner's part of a succession: the shadow is folded to the very record, then customer after customer changes over."""

from collections.abc import Mapping
from functools import partial

from shared.processing.batch import Outcome
from shared.processing.document import Document
from shared.processing.failures import FailureBudget
from shared.processing.outbox import Covered, unpublished
from shared.processing.portion import Portion
from shared.processing.ports import Store
from shared.processing.retry import Retry
from shared.processing.shadow import Shadow
from shared.processing.succession import Succession, change_over

FOLDED_AT_ONCE = 1_000
"""Records of the shadow per step, at most."""
CHANGED_AT_ONCE = 500
FIRST = 100
LONG_STEP = 150
"""Milliseconds. Longer steps are made smaller: meanwhile the worker's other partitions wait."""


class Handover:
    """One partition held at a record. Made anew by whoever takes the partition over: it then passes over the customers
    that have changed, and repeats what was told of them."""

    def __init__(
        self, succession: Succession, stops: Mapping[str, int], shadow: Shadow, store: Store, retry: Retry
    ) -> None:
        """`stops`: per topic what comes behind all that was applied, the record itself included."""
        self.succession = succession
        self._stops = stops
        self._shadow = shadow
        self._store = store
        self._retry = retry
        self._left: list[str] | None = None
        self._next: list[str] = []
        self._records = Portion(FIRST, FOLDED_AT_ONCE, LONG_STEP)
        self._customers = Portion(FIRST, CHANGED_AT_ONCE, LONG_STEP)
        self._shadow_is_needed = False
        self._folded = False

    async def proceed(self, partition: int) -> bool:
        """One step towards the next customers. True: `outcome` may be asked for."""
        if self._left is None:
            self._left = await self._retry("reading customers", lambda: self._store.ids(partition))
        self._next = self._left[: self._customers.size]
        if not self._shadow_is_needed:
            self._shadow_is_needed = await self._somebody_is_behind(self._next)
        if self._folded or not self._shadow_is_needed:
            return True
        step = partial(self._shadow.step, self._stops, self._records.size)
        self._folded = not await self._retry("folding under the new version", step)
        return False

    def took(self, milliseconds: int) -> None:
        """Of the step just done: how much the next one does."""
        (self._customers if self._folded or not self._shadow_is_needed else self._records).fit(milliseconds)

    async def outcome(self, covered: Covered, budget: FailureBudget) -> Outcome:
        """The next customers as they are after the change; asked again after a failed write. Empty: all have changed."""
        found = await self._load(self._next)
        behind = [key for key, document in found.items() if not self.succession.has_changed_over(document)]
        others = await self._retry("reading the shadow", lambda: self._shadow.load(behind)) if behind else {}
        outcome = Outcome()
        for document in found.values():
            outcome.republished.extend((document, entry) for entry in unpublished(document, covered))
            if document.unsent:
                outcome.confirmed[document.id] = document.rev
        for key in behind:
            self._change(found[key], others.get(key), covered, budget, outcome)
        return outcome

    async def _load(self, customer_ids: list[str]) -> dict[str, Document]:
        return await self._retry("reading customers", lambda: self._store.load(customer_ids))

    async def _somebody_is_behind(self, customer_ids: list[str]) -> bool:
        """Who takes over from one who had finished, or nearly, need not fold anything."""
        found = await self._load(customer_ids)
        return any(not self.succession.has_changed_over(document) for document in found.values())

    def passed(self) -> bool:
        """What `outcome` gave is written and told. True: nobody is left."""
        assert self._left is not None  # noqa: S101 - `proceed` has come first
        del self._left[: len(self._next)]
        return not self._left

    def _change(
        self,
        before: Document,
        after: Document | None,
        covered: Covered,
        budget: FailureBudget,
        outcome: Outcome,
    ) -> None:
        """Whom only the new version parks is counted: a version that fails for everybody must stop before it is saved."""
        changed, entry = change_over(before, after, self.succession, covered)
        budget.count(changed.parked is not None and before.parked is None)
        outcome.documents.append(changed)
        outcome.states[changed.id] = None
        if entry is not None:
            outcome.emitted.append((changed, entry))
        if changed.unsent:
            outcome.confirmed[changed.id] = changed.rev
