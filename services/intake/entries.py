"""Offers become entries: customer found or made, personal texts sealed, events written out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.intake.batches import Entry
from services.intake.customers import Customer
from services.intake.decisions import Decisions, gone
from services.intake.domain import Offer
from services.intake.identities import Identities, KnownKeys
from services.intake.refusal import Refusal
from services.intake.store import IntakeStore
from shared.privacy import KeyDestroyed, Vault
from shared.processing.ports import FatalError, TransientError

LARGEST = 3 << 20
"""Bytes after which a batch is full: with one more offer and what goes beside it far below the 16 MiB of a document."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Later:
    """The offer must wait: for the customer that another process is registering, or (`full`) for the next batch."""

    full: bool = False


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
        decisions = Decisions(self._vault, owners, present)
        held = Held(owners, busy)
        built: list[Built] = []
        for offer in offers:
            if decisions.size >= LARGEST:
                built.append(Later(full=True))
            elif busy and held.includes(offer):
                built.append(Later())
            else:
                built.append(await self._built(decisions, offer))
        return [decisions.guarded(result) if isinstance(result, Entry) else result for result in built]

    async def _built(self, decisions: Decisions, offer: Offer) -> Entry | Refusal:
        """What is wrong with one offer, a broken seal of its customer say, must not stop those beside it."""
        try:
            return await decisions.entry(offer)
        except Refusal as refusal:
            return refusal
        except KeyDestroyed:
            return gone()
        except (TransientError, FatalError):
            raise
        except Exception:
            log.exception("an offer could not be written")
            return Refusal(500, "Internal error", "Nothing was taken in of it.")

    async def _present(self, offers: Sequence[Offer], owners: dict[str, str]) -> dict[str, Customer | None]:
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
            else:
                self._disown(customer.id, owners)
        return {customer_id: found.get(customer_id) for customer_id in wanted}

    def _disown(self, customer_id: str, owners: dict[str, str]) -> None:
        """Who was erased by another process is remembered here for a while; no key names it any more."""
        self._known.forget(customer_id)
        for key in [key for key, owner in owners.items() if owner == customer_id]:
            del owners[key]


class Held:
    """Offers whose customers are being registered elsewhere, and those of the same customers that came after them."""

    def __init__(self, owners: Mapping[str, str], busy: set[str]) -> None:
        self._owners = owners
        self._busy = busy
        self._customers: set[str] = set()

    def includes(self, offer: Offer) -> bool:
        keys = set(offer.person.keys.values())
        named = {self._owners[key] for key in keys if key in self._owners}
        if offer.person.id is not None:
            named.add(offer.person.id)
        if self._busy.isdisjoint(keys) and self._customers.isdisjoint(named):
            return False
        self._customers |= named
        return True
