"""Customers over HTTP: register or find, correct, show, every change; consent, objection, erasure, resuming."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import Field

from services.intake.answering import sender_of
from services.intake.batches import Accepted
from services.intake.bodies import LimitedRoute
from services.intake.checking import Checker, Stamp
from services.intake.contracts import PERSONAL, CustomerBlock, Strict
from services.intake.customers import Customer, shown
from services.intake.decisions import CORRECTED
from services.intake.domain import Offer
from services.intake.processor import Intake
from services.intake.refusal import Refusal
from services.intake.registers import ReceiptRegister
from services.intake.store import IntakeStore
from shared.clock import Clock, to_rfc3339
from shared.events import customers as c
from shared.events.catalog import OUTPUT
from shared.events.fields import Channel, Consent, SealedText
from shared.privacy import Erased, Vault
from shared.web.keys import Principal, requires
from shared.web.problems import Problem

Emitter = Annotated[Principal, Depends(requires("emit"))]
Reader = Annotated[Principal, Depends(requires("read"))]
Administrator = Annotated[Principal, Depends(requires("admin"))]
CustomerIdPath = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
IdempotencyKey = Annotated[str | None, Header(max_length=256)]
SERVICES = tuple(OUTPUT)


class ConsentBody(Strict):
    consent: Consent
    evidence: Annotated[str, Field(max_length=2_000)] | None = None


class ObjectionBody(Strict):
    withdrawn: bool = False


class ErasureBody(Strict):
    reason: Annotated[str, Field(max_length=500)] | None = None


class ResumeBody(Strict):
    service: Literal["segmentation", "followup", "feedback"]


class CustomerDesk:
    """What the routes do, apart from HTTP. Every method raises Problem."""

    def __init__(
        self,
        intake: Intake,
        checker: Checker,
        store: IntakeStore,
        receipts: ReceiptRegister,
        vault: Vault,
        clock: Clock,
    ) -> None:
        self._intake = intake
        self._checker = checker
        self._store = store
        self._receipts = receipts
        self._vault = vault
        self._clock = clock

    async def register(self, block: CustomerBlock, principal: Principal, key: str | None) -> Accepted:
        return await self._one(self._registration(block, principal, key))

    async def correct(
        self, customer_id: str, block: CustomerBlock, principal: Principal, key: str | None, reason: str | None
    ) -> Accepted:
        offer = self._registration(block, principal, key, [customer_id, reason], CORRECTED)
        person = replace(offer.person, id=customer_id)
        return await self._one(
            replace(offer, full=CORRECTED, person=person, fact=True, cleared=_cleared(block), reason=reason)
        )

    async def fact(
        self,
        customer_id: str,
        data_type: type[c.OfCustomer],
        data: Mapping[str, Any],
        principal: Principal,
        key: str | None,
        *,
        fact: bool = True,
    ) -> Accepted:
        offer = self._registration(CustomerBlock(id=customer_id), principal, key, dict(data), data_type.event_type)
        return await self._one(replace(offer, full=data_type.event_type, data=data, fact=fact))

    async def erase(self, customer_id: str, reason: str | None, principal: Principal) -> dict[str, Any]:
        """The key is destroyed before the answer; the receipt tells which services have forgotten. Repeating is harmless."""
        customer = await self.customer(customer_id)
        if customer.receipt_id is not None:
            return {"receipt_id": customer.receipt_id, "customer_id": customer_id}
        receipt_id = hashlib.sha256(f"erasure\0{customer_id}".encode()).hexdigest()[:32]
        await self._receipts.add(receipt_id, customer_id, self._clock(), SERVICES)
        await self._intake.erasures.announce(customer_id)
        data = {"receipt_id": receipt_id, **({"reason": reason} if reason else {})}
        try:
            await self.fact(customer_id, c.CustomerErased, data, principal, receipt_id)
        except Refusal as refusal:
            if refusal.status != HTTPStatus.GONE:  # somebody who asked beside us was first
                raise
        return {"receipt_id": receipt_id, "customer_id": customer_id}

    async def customer(self, customer_id: str) -> Customer:
        found = (await self._store.customers([customer_id])).get(customer_id)
        if found is None:
            raise Problem(404, "Unknown customer")
        return found

    def fresh(self) -> dict[str, Any]:
        """Intake's own record changes before the log does, so it is never behind."""
        return {"as_of": to_rfc3339(self._clock()), "behind_seconds": 0.0}

    async def opened(self, customer: Customer) -> dict[str, str]:
        return {name: await self._open(customer.id, value) for name, value in customer.sealed.items()}

    async def history(self, customer: Customer, *, unsealed: bool) -> list[dict[str, Any]]:
        """Every change of every field, oldest first; personal values only for whoever may unseal."""
        changes = []
        for change in await self._store.history(customer.id):
            document = change.model_dump(mode="json")
            document["at"] = to_rfc3339(change.at)
            if change.field in PERSONAL or change.field.startswith("custom."):
                for side in ("from", "to"):
                    document[side] = await self._side(customer.id, document[side], unsealed)
            changes.append(document)
        return changes

    async def receipt(self, receipt_id: str) -> dict[str, Any]:
        found = await self._receipts.get(receipt_id)
        if found is None:
            raise Problem(404, "Unknown receipt")
        forgotten = {service: to_rfc3339(at) for service, at in found.get("forgotten", {}).items()}
        return {
            "receipt_id": receipt_id,
            "customer_id": found["customer_id"],
            "requested_at": to_rfc3339(found["requested_at"]),
            "forgotten": forgotten,
            "awaited": [service for service in found["awaited"] if service not in forgotten],
            "complete": all(service in forgotten for service in found["awaited"]),
        }

    async def _side(self, customer_id: str, value: Any, unsealed: bool) -> Any:
        if not isinstance(value, dict) or "ciphertext" not in value:
            return value
        return await self._open(customer_id, value) if unsealed else "sealed"

    async def _open(self, customer_id: str, sealed: Mapping[str, Any]) -> str:
        text = await self._vault.open_(customer_id, SealedText.model_validate(sealed))
        return "erased" if isinstance(text, Erased) else text

    def _registration(
        self, block: CustomerBlock, principal: Principal, key: str | None, data: Any = None, full: str | None = None
    ) -> Offer:
        document = [full, block.model_dump(mode="json", exclude_unset=True), data]
        stamp = Stamp(self._clock(), key=key)
        try:
            return self._checker.registration(block, document, sender_of(principal), stamp)
        except Refusal as refusal:
            raise refusal.within("customer") from None

    async def _one(self, offer: Offer) -> Accepted:
        (answer,) = await self._intake.submit([offer])
        if isinstance(answer, Refusal):
            raise answer.within("customer")
        return answer


def _cleared(block: CustomerBlock) -> frozenset[str]:
    """Fields that are given as null, or as a list of nothing."""
    cleared = {name for name in block.model_fields_set if getattr(block, name) in (None, ()) and name != "id"}
    return frozenset(cleared | {f"custom.{name}" for name, value in (block.custom or {}).items() if value is None})


def build_router(desk: CustomerDesk) -> APIRouter:
    router = APIRouter(prefix="/v1/customers", tags=["customers"], route_class=LimitedRoute)
    _add_records(router, desk)
    _add_rights(router, desk)
    return router


def _add_records(router: APIRouter, desk: CustomerDesk) -> None:
    @router.post("", status_code=201)
    async def register(
        block: CustomerBlock, principal: Emitter, response: Response, idempotency_key: IdempotencyKey = None
    ) -> dict[str, Any]:
        """Registers, or finds whom the keys name: 201 or 200."""
        accepted = await desk.register(block, principal, idempotency_key)
        response.status_code = 201 if accepted.registered else 200
        return accepted.body()

    @router.patch("/{customer_id}")
    async def correct(
        customer_id: CustomerIdPath,
        block: CustomerBlock,
        principal: Emitter,
        idempotency_key: IdempotencyKey = None,
        reason: Annotated[str | None, Query(max_length=500)] = None,
    ) -> dict[str, Any]:
        """Fields given replace what is known, null empties a field, all others stay."""
        return (await desk.correct(customer_id, block, principal, idempotency_key, reason)).body()

    @router.get("/{customer_id}")
    async def show(customer_id: CustomerIdPath, principal: Reader) -> dict[str, Any]:
        """Personal fields in clear only with the scope unseal."""
        customer = await desk.customer(customer_id)
        opened = await desk.opened(customer) if principal.may("unseal") else None
        return {**shown(customer, opened), **desk.fresh()}

    @router.get("/{customer_id}/history")
    async def history(customer_id: CustomerIdPath, principal: Reader) -> dict[str, Any]:
        """Every change of every field: when, by whom, from, to."""
        customer = await desk.customer(customer_id)
        changes = await desk.history(customer, unsealed=principal.may("unseal"))
        return {"customer_id": customer_id, "changes": changes, **desk.fresh()}


def _add_rights(router: APIRouter, desk: CustomerDesk) -> None:
    @router.put("/{customer_id}/consents/{channel}")
    async def consent(
        customer_id: CustomerIdPath,
        channel: Channel,
        body: ConsentBody,
        principal: Emitter,
        idempotency_key: IdempotencyKey = None,
    ) -> dict[str, Any]:
        data = {"channel": channel, "by": principal.name, **body.model_dump(exclude_none=True)}
        return (await desk.fact(customer_id, c.CustomerConsentChanged, data, principal, idempotency_key)).body()

    @router.post("/{customer_id}/objection", status_code=202)
    async def objection(
        customer_id: CustomerIdPath,
        body: ObjectionBody,
        principal: Emitter,
        idempotency_key: IdempotencyKey = None,
    ) -> dict[str, Any]:
        """Objects to profiling, or withdraws the objection."""
        kind = c.CustomerObjectionWithdrawn if body.withdrawn else c.CustomerObjected
        return (await desk.fact(customer_id, kind, {"by": principal.name}, principal, idempotency_key)).body()

    @router.post("/{customer_id}/erasure", status_code=202)
    async def erasure(customer_id: CustomerIdPath, body: ErasureBody, principal: Administrator) -> dict[str, Any]:
        """Destroys the customer's key at once and tells every service. See the receipt for their answers."""
        return await desk.erase(customer_id, body.reason, principal)

    @router.post("/{customer_id}/resume", status_code=202)
    async def resume(
        customer_id: CustomerIdPath,
        body: ResumeBody,
        principal: Administrator,
        idempotency_key: IdempotencyKey = None,
    ) -> dict[str, Any]:
        """Ends the parking of a customer in one service: what waited is applied as if never parked."""
        data = {"service": body.service}
        accepted = await desk.fact(
            customer_id, c.CustomerResumeRequested, data, principal, idempotency_key or str(uuid4()), fact=False
        )
        return accepted.body()


def receipts_router(desk: CustomerDesk) -> APIRouter:
    router = APIRouter(prefix="/v1/erasures", tags=["customers"])

    @router.get("/{receipt_id}")
    async def receipt(receipt_id: Annotated[str, Path(max_length=64)], _principal: Administrator) -> dict[str, Any]:
        """Which services have forgotten the customer, and when."""
        return await desk.receipt(receipt_id)

    return router
