"""Offers become entries: customer found or made, personal texts sealed, events written out."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from services.intake import customers, domain
from services.intake.batches import Entry, Guard, Line
from services.intake.customers import Customer
from services.intake.domain import Offer
from services.intake.identities import Identities, KnownKeys
from services.intake.refusal import Refusal
from services.intake.store import IntakeStore
from shared.events.customers import CustomerCorrected, CustomerErased, FieldChange
from shared.events.fields import SealedText
from shared.privacy import KeyDestroyed, Vault
from shared.processing.ports import FatalError, TransientError

log = logging.getLogger(__name__)

CORRECTED = CustomerCorrected.event_type
ERASED = CustomerErased.event_type


class Later:
    """The customer is being registered by another process: the offer must wait until that is in the log."""


Built = Entry | Refusal | Later


class EntryWriter:
    def __init__(self, store: IntakeStore, identities: Identities, known: KnownKeys, vault: Vault) -> None:
        self._store = store
        self._identities = identities
        self._known = known
        self._vault = vault

    async def entries(self, offers: Sequence[Offer]) -> list[Built]:
        """One result per offer, in order. The offers of one call see each other: the first registers for the rest."""
        owners, busy = await self._identities.owners(offers)
        present = await self._present(offers, owners)
        desk = _Desk(self._vault, owners, present)
        built: list[Built] = []
        for offer in offers:
            if busy and busy & set(offer.person.keys.values()):
                built.append(Later())
                continue
            built.append(await self._built(desk, offer))
        return built

    async def _built(self, desk: "_Desk", offer: Offer) -> Entry | Refusal:
        """What is wrong with one offer, a broken seal of its customer say, must not stop those beside it."""
        try:
            return await desk.entry(offer)
        except Refusal as refusal:
            return refusal
        except KeyDestroyed:
            return _gone()
        except (TransientError, FatalError):
            raise
        except Exception:
            log.exception("an offer could not be written")
            return Refusal(500, "Internal error", "Nothing was taken in of it.")

    async def _present(self, offers: Sequence[Offer], owners: Mapping[str, str]) -> dict[str, Customer | None]:
        """The records of those customers that this tick names by id, changes, or knows by some of the keys only."""
        wanted = set()
        for offer in offers:
            named = {owners[key] for key in offer.person.keys.values() if key in owners}
            if offer.fact or any(key not in owners for key in offer.person.keys.values()):
                wanted |= named
            given = offer.person.id
            if given is not None and (offer.fact or offer.person.keys or self._known.get(given) is None):
                wanted.add(given)
        found = await self._store.customers(wanted)
        for customer in found.values():
            if customer.erased_at is None:
                self._known.put([customer.id], customer.id)
        return {customer_id: found.get(customer_id) for customer_id in wanted}


def _gone() -> Refusal:
    return Refusal(410, "Erased", "This customer was erased; nothing more can be kept under this id.")


class _Desk:
    """One tick's view of the customers: what was found, and what the tick itself has made of it so far."""

    def __init__(self, vault: Vault, owners: dict[str, str], present: dict[str, Customer | None]) -> None:
        self._vault = vault
        self._owners = owners
        self._present = present

    async def entry(self, offer: Offer) -> Entry:
        customer_id = self._customer_of(offer)
        if customer_id is None:
            return await self._new(offer)
        if offer.full == ERASED:
            return self._erasure(offer, customer_id)
        if offer.fact:
            return await self._fact(offer, customer_id)
        return await self._known(offer, customer_id)

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
            customer = self._present[given]
            if customer is None:
                raise Refusal.of_field("customer.id", "is no customer known here")
            if customer.erased_at is not None:
                raise _gone()
        return given

    async def _new(self, offer: Offer) -> Entry:
        """An unknown customer: its registration stands in the log right before what made it known."""
        customer_id = str(uuid4())
        person = offer.person
        sealed = await self._sealed(customer_id, domain.registration_id(customer_id), person.personal)
        data = customers.registration_data(person.facts, sealed)
        customer = customers.registered(customer_id, offer.recorded_at, person.facts, sealed, person.keys)
        lines = [Line(domain.registered(offer, customer_id, data).decode())]
        if offer.full is not None:
            lines.append(await self._event(offer, customer_id))
        self._present[customer_id] = customer
        self._owners.update((key, customer_id) for key in person.keys.values())
        event_id = offer.event_id if offer.full is not None else domain.registration_id(customer_id)
        guard = Guard(tuple(person.keys.values()), insert=customer)
        return Entry(event_id, customer_id, tuple(lines), True, offer.claim, offer.fingerprint, guard)

    async def _known(self, offer: Offer, customer_id: str) -> Entry:
        lines, guard = await self._filled(offer, customer_id)
        if offer.full is not None:
            lines.append(await self._event(offer, customer_id))
        return Entry(offer.event_id, customer_id, tuple(lines), False, offer.claim, offer.fingerprint, guard)

    async def _event(self, offer: Offer, customer_id: str) -> Line:
        data = offer.data
        if offer.secrets:
            data = {**data, "sealed": await self._sealed(customer_id, offer.event_id, offer.secrets)}
        return Line(domain.envelope(offer, customer_id, data).decode())

    async def _filled(self, offer: Offer, customer_id: str) -> tuple[list[Line], Guard | None]:
        """A known customer that comes with a key that nobody has yet: kept where we had none of that kind.

        A different phone than the one we know is left alone here; correcting is a deliberate act (PATCH).
        """
        customer = self._present.get(customer_id)
        new = {f: k for f, k in offer.person.keys.items() if k not in self._owners}
        if customer is None or not new:
            return [], None
        new = {field: key for field, key in new.items() if field not in customer.keys}
        if not new:
            return [], None
        event_id = domain.correction_id(offer.event_id)
        wanted: dict[str, Any] = {}
        for field in new:
            if field.startswith("external_id:"):
                wanted["external_ids"] = customers.with_external(customer, offer.person.facts["external_ids"])
            else:
                wanted |= await self._sealed(customer_id, event_id, {field: offer.person.personal[field]})
        changes = customers.differing(customer, wanted)
        return self._corrected(offer, customer, changes, event_id, new, ())

    def _corrected(
        self,
        offer: Offer,
        customer: Customer,
        changes: Mapping[str, FieldChange],
        event_id: str,
        new: Mapping[str, str],
        released: Sequence[str],
    ) -> tuple[list[Line], Guard]:
        after = customers.corrected(customer, changes, event_id, offer.by, offer.recorded_at)
        keys = {field: key for field, key in after.keys.items() if key not in released} | dict(new)
        after = after.model_copy(update={"keys": keys})
        self._present[customer.id] = after
        self._owners.update((key, customer.id) for key in new.values())
        data = {
            "changes": {f: change.model_dump(mode="json", exclude_none=True) for f, change in changes.items()},
            "by": offer.by,
        }
        if offer.reason is not None:
            data["reason"] = offer.reason
        value = domain.fact(event_id, CORRECTED, offer, customer.id, data)
        return [Line(value.decode())], Guard(tuple(new.values()), update=after, release=tuple(released))

    async def _fact(self, offer: Offer, customer_id: str) -> Entry:
        customer = self._present[customer_id]
        assert customer is not None  # noqa: S101 - facts load their customers, and _customer_of refused the others
        if offer.full == CORRECTED:
            return await self._correction(offer, customer)
        changes = customers.changes_of(offer.full or "", offer.data, customer)
        guard = None
        if changes:
            after = customers.corrected(customer, changes, offer.event_id, offer.by, offer.recorded_at)
            self._present[customer_id] = after
            guard = Guard(update=after)
        lines = (await self._event(offer, customer_id),)
        return Entry(offer.event_id, customer_id, lines, False, offer.claim, offer.fingerprint, guard)

    async def _correction(self, offer: Offer, customer: Customer) -> Entry:
        """PATCH: new values win; a key that another customer holds is a conflict; a replaced key no longer names this one."""
        person = offer.person
        wanted: dict[str, Any] = customers.wanted_fields(person.facts) | dict.fromkeys(offer.cleared)
        if "external_ids" in wanted:
            wanted["external_ids"] = customers.with_external(customer, wanted["external_ids"])
        wanted |= await self._sealed(customer.id, offer.event_id, await self._new_texts(customer, person.personal))
        changes = customers.differing(customer, wanted)
        if not changes:
            return Entry(offer.event_id, customer.id, (), False, offer.claim, offer.fingerprint)
        new = {field: key for field, key in person.keys.items() if customer.keys.get(field) != key}
        gone = [customer.keys[field] for field in (*new, *offer.cleared) if field in customer.keys]
        lines, guard = self._corrected(offer, customer, changes, offer.event_id, new, gone)
        return Entry(offer.event_id, customer.id, tuple(lines), False, offer.claim, offer.fingerprint, guard)

    async def _new_texts(self, customer: Customer, personal: Mapping[str, str]) -> dict[str, str]:
        """Those that differ from what is sealed: the same text sealed again would look like a change."""
        new = {}
        for field, text in personal.items():
            before = customer.sealed.get(field)
            if before is None or await self._vault.open_(customer.id, SealedText.model_validate(before)) != text:
                new[field] = text
        return new

    def _erasure(self, offer: Offer, customer_id: str) -> Entry:
        customer = self._present[customer_id]
        assert customer is not None  # noqa: S101 - as above
        after = customers.erased(customer, offer.data["receipt_id"], offer.recorded_at)
        guard = Guard(update=after, release=tuple(customer.keys.values()), destroy=True)
        self._present[customer_id] = after
        line = Line(domain.envelope(offer, customer_id, offer.data).decode())
        return Entry(offer.event_id, customer_id, (line,), False, offer.claim, offer.fingerprint, guard)

    async def _sealed(self, customer_id: str, event_id: str, texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
        sealed = {}
        for field, text in texts.items():
            value = await self._vault.seal(customer_id, event_id, field, text)
            sealed[field] = value.model_dump()
        return sealed
