"""What one tick decides of its customers, offer by offer: what was found of them, and what the tick has made of it so far."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from services.intake import customers, domain
from services.intake.batches import Entry, Guard, Line
from services.intake.customers import Customer
from services.intake.domain import Offer
from services.intake.limits import LIMITS, too_large
from services.intake.refusal import Refusal
from shared.events.customers import CustomerCorrected, CustomerErased, FieldChange
from shared.events.fields import SealedText
from shared.privacy import Vault

CORRECTED = CustomerCorrected.event_type
ERASED = CustomerErased.event_type


@dataclass(frozen=True, slots=True)
class Draft:
    """An offer's entry before it is known to fit, and its customer as the entry leaves it, where it changes it."""

    entry: Entry
    after: Customer | None = None


def gone() -> Refusal:
    return Refusal(410, "Erased", "This customer was erased; nothing more can be kept under this id.")


class Decisions:
    """`size`: bytes of all that was decided, as it will be written down."""

    def __init__(self, vault: Vault, owners: dict[str, str], present: dict[str, Customer | None]) -> None:
        self._vault = vault
        self._owners = owners
        self._present = present
        self._before: dict[str, Customer | None] = {}
        self._first: dict[str, Entry] = {}
        self._sizes: dict[str, int] = {}
        self.size = 0

    async def entry(self, offer: Offer) -> Entry:
        """Raises Refusal, which leaves everything as it was."""
        draft = await self._draft(offer)
        size = _size_of(draft.entry)
        if draft.after is not None:
            self._keep(draft.entry, draft.after, _size_of_customer(draft.after))
            size *= 2  # the record says a change, and so does the guard
        self.size += size
        return draft.entry

    def guarded(self, entry: Entry) -> Entry:
        """With its guard, where it is the first that changes its customer."""
        if self._first.get(entry.customer_id) is not entry:
            return entry
        before, after = self._before[entry.customer_id], self._present[entry.customer_id]
        assert after is not None  # noqa: S101 - kept together with `_first`
        had = before.keys if before is not None else {}
        keys = tuple(key for key in after.keys.values() if key not in had.values())
        release = tuple(key for key in had.values() if key not in after.keys.values())
        return replace(entry, guard=Guard(after, before.rev if before is not None else 0, keys, release))

    def _keep(self, entry: Entry, after: Customer, size: int) -> None:
        before = self._present.get(after.id)
        if after.id not in self._first:
            self._first[after.id], self._before[after.id] = entry, before
        self.size += size - self._sizes.get(after.id, 0)
        self._sizes[after.id] = size
        self._present[after.id] = after
        for key in before.keys.values() if before is not None else ():
            self._owners.pop(key, None)
        self._owners.update((key, after.id) for key in after.keys.values())

    async def _draft(self, offer: Offer) -> Draft:
        customer_id = self._customer_of(offer)
        if customer_id is None:
            return await self._new(offer)
        if offer.full == ERASED:
            return self._erasure(offer, self._known(customer_id))
        if offer.full == CORRECTED:
            return await self._correction(offer, self._known(customer_id))
        if offer.fact:
            return await self._fact(offer, self._known(customer_id))
        return await self._event_of(offer, customer_id)

    def _customer_of(self, offer: Offer) -> str | None:
        keys = list(offer.person.keys.values())
        customer_id = domain.owner_of(keys, self._owners)
        given = offer.person.id
        if given is None:
            if not keys:
                raise Refusal.of_field("customer", "needs id, external_id, phone or email")
            return customer_id
        if customer_id not in (None, given):
            domain.owner_of(["id", *keys], {**self._owners, "id": given})
        if given in self._present:
            self._known(given)
        return given

    def _known(self, customer_id: str) -> Customer:
        customer = self._present.get(customer_id)
        if customer is None:
            raise Refusal.of_field("customer.id", "is no customer known here")
        if customer.erased_at is not None:
            raise gone()
        return customer

    async def _new(self, offer: Offer) -> Draft:
        """An unknown customer: its registration stands in the log right before what made it known."""
        customer_id = str(uuid4())
        person = offer.person
        sealed = await self._sealed(customer_id, domain.registration_id(customer_id), person.personal)
        texts = {field: text.model_dump() for field, text in sealed.items()}
        data = customers.registration_data(person.facts, texts)
        lines = [Line(domain.registered(offer, customer_id, data).decode())]
        if offer.full is not None:
            lines.append(await self._line(offer, customer_id))
        event_id = offer.event_id if offer.full is not None else domain.registration_id(customer_id)
        entry = Entry(event_id, customer_id, tuple(lines), True, offer.claim, offer.fingerprint)
        return Draft(entry, customers.registered(customer_id, offer.recorded_at, person.facts, texts, person.keys))

    async def _event_of(self, offer: Offer, customer_id: str) -> Draft:
        lines, after = await self._filled(offer, customer_id)
        if offer.full is not None:
            lines.append(await self._line(offer, customer_id))
        return Draft(_entry(offer, customer_id, *lines), after)

    async def _line(self, offer: Offer, customer_id: str) -> Line:
        data = offer.data
        if offer.secrets:
            sealed = await self._sealed(customer_id, offer.event_id, offer.secrets)
            data = {**data, "sealed": {field: text.model_dump() for field, text in sealed.items()}}
        return Line(domain.envelope(offer, customer_id, data).decode())

    async def _filled(self, offer: Offer, customer_id: str) -> tuple[list[Line], Customer | None]:
        """A known customer that comes with a key that nobody has yet: kept where we had none of that kind.

        A different phone than the one we know is left alone here; correcting is a deliberate act (PATCH).
        """
        customer = self._present.get(customer_id)
        if customer is None:
            return [], None
        unknown = {field: key for field, key in offer.person.keys.items() if key not in self._owners}
        new = {field: key for field, key in unknown.items() if field not in customer.keys}
        if not new:
            return [], None
        event_id = domain.correction_id(offer.source, offer.event_id)
        wanted: dict[str, Any] = {}
        for field in new:
            if field.startswith("external_id:"):
                wanted["external_ids"] = customers.with_external(customer, offer.person.facts["external_ids"])
            else:
                wanted |= await self._sealed(customer_id, event_id, {field: offer.person.personal[field]})
        line, after = _corrected(
            offer, customer, customers.differing(customer, wanted), event_id, {**customer.keys, **new}
        )
        return [line], after

    async def _fact(self, offer: Offer, customer: Customer) -> Draft:
        entry = _entry(offer, customer.id, await self._line(offer, customer.id))
        changes = customers.changes_of(offer.full or "", offer.data, customer)
        if not changes:
            return Draft(entry)
        return Draft(entry, customers.corrected(customer, changes, offer.event_id, offer.by, offer.recorded_at))

    async def _correction(self, offer: Offer, customer: Customer) -> Draft:
        """PATCH: new values win; a key that another customer holds is a conflict; a replaced key no longer names this one."""
        person = offer.person
        wanted = customers.emptied(customer, offer.cleared) | customers.wanted_fields(person.facts)
        wanted = {
            f: to for f, to in wanted.items() if f not in person.guessed or customers.current(customer, f) is None
        }
        if "external_ids" in person.facts:
            wanted["external_ids"] = customers.with_external(customer, person.facts["external_ids"])
        wanted |= await self._sealed(customer.id, offer.event_id, await self._new_texts(customer, person.personal))
        changes = customers.differing(customer, wanted)
        if not changes:
            return Draft(_entry(offer, customer.id))
        keys = customers.remaining_keys(customer, offer.cleared) | dict(person.keys)
        line, after = _corrected(offer, customer, changes, offer.event_id, keys)
        return Draft(_entry(offer, customer.id, line), after)

    async def _new_texts(self, customer: Customer, personal: Mapping[str, str]) -> dict[str, str]:
        """Those that differ from what is sealed: the same text sealed again would look like a change."""
        new = {}
        for field, text in personal.items():
            before = customer.sealed.get(field)
            if before is None or await self._vault.open_(customer.id, SealedText.model_validate(before)) != text:
                new[field] = text
        return new

    def _erasure(self, offer: Offer, customer: Customer) -> Draft:
        line = Line(domain.envelope(offer, customer.id, offer.data).decode())
        after = customers.erased(customer, offer.data["receipt_id"], offer.recorded_at)
        return Draft(_entry(offer, customer.id, line), after)

    async def _sealed(self, customer_id: str, event_id: str, texts: Mapping[str, str]) -> dict[str, SealedText]:
        return {field: await self._vault.seal(customer_id, event_id, field, text) for field, text in texts.items()}


def _entry(offer: Offer, customer_id: str, *lines: Line) -> Entry:
    return Entry(offer.event_id, customer_id, lines, False, offer.claim, offer.fingerprint)


def _corrected(
    offer: Offer, customer: Customer, changes: Mapping[str, FieldChange], event_id: str, keys: dict[str, str]
) -> tuple[Line, Customer]:
    after = customers.corrected(customer, changes, event_id, offer.by, offer.recorded_at)
    data = {
        "changes": {f: change.model_dump(mode="json", exclude_none=True) for f, change in changes.items()},
        "by": offer.by,
    }
    if offer.reason is not None:
        data["reason"] = offer.reason
    line = Line(domain.fact(event_id, CORRECTED, offer, customer.id, data).decode())
    return line, after.model_copy(update={"keys": keys})


def _size_of(entry: Entry) -> int:
    """Bytes. Refusal (413) where one of its records would be too large."""
    sizes = [line.size for line in entry.lines]
    if max(sizes, default=0) > LIMITS.record:
        raise too_large("customer", "makes, with what is known already, a record that is too large")
    return sum(sizes)


def _size_of_customer(customer: Customer) -> int:
    """Bytes. Refusal (413) where more would be known of one customer than can be kept."""
    size = len(customer.model_dump_json(exclude={"changes"}).encode())
    if size > LIMITS.customer:
        raise too_large("customer", "holds, with what is known already, too much")
    return size
