"""Subscriptions over HTTP: who is told of segment changes by webhook. Operators only."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Header, Path, Response
from pydantic import Field, StringConstraints, model_validator

from services.intake.contracts import Moment, Strict
from services.intake.subscriptions import Subscription
from services.intake.subscriptions_desk import SubscriptionDesk
from shared.events.fields import CustomerId
from shared.web.keys import Principal, requires

Administrator = Annotated[Principal, Depends(requires("admin"))]
SubscriptionId = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
IdempotencyKey = Annotated[str | None, Header(max_length=256)]
Url = Annotated[str, Field(min_length=1, max_length=2_000)]
Dimension = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Dimensions = Annotated[tuple[Dimension, ...], Field(max_length=50)]
Description = Annotated[str, Field(max_length=500)]


class SubscriptionBody(Strict):
    """`dimensions` empty: changes of all. `composites` stands for the composite segments."""

    url: Url
    dimensions: Dimensions = ()
    description: Description | None = None


class SubscriptionPatch(Strict):
    """What is given replaces what was. `rotate_secret`: the answer has a new secret; the old one signs for a day more."""

    url: Url | None = None
    dimensions: Dimensions | None = None
    description: Description | None = None
    paused: bool | None = None
    rotate_secret: bool = False


class ReplayBody(Strict):
    """Of one customer or all, beyond `after_sequence` (0: from the first) or since an instant."""

    customer_id: CustomerId | None = None
    after_sequence: Annotated[int, Field(ge=0)] | None = None
    since: Moment | None = None

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if (self.after_sequence is None) == (self.since is None):
            raise ValueError("either after_sequence or since")
        return self


def build_router(desk: SubscriptionDesk) -> APIRouter:
    router = APIRouter(prefix="/v1/subscriptions", tags=["subscriptions"])
    _add_reads(router, desk)
    _add_changes(router, desk)
    return router


def _add_reads(router: APIRouter, desk: SubscriptionDesk) -> None:
    @router.get("")
    async def living(_principal: Administrator) -> dict[str, Any]:
        return {"subscriptions": [found.shown() for found in await desk.living()]}

    @router.get("/{subscription_id}")
    async def show(subscription_id: SubscriptionId, _principal: Administrator) -> dict[str, Any]:
        return (await desk.get(subscription_id)).shown()


def _add_changes(router: APIRouter, desk: SubscriptionDesk) -> None:
    @router.post("", status_code=201)
    async def create(
        body: SubscriptionBody, principal: Administrator, idempotency_key: IdempotencyKey = None
    ) -> dict[str, Any]:
        """The answer alone shows the secret with which webhooks are signed (Standard Webhooks)."""
        return _with_secret(*await desk.create(body.model_dump(), principal, idempotency_key))

    @router.patch("/{subscription_id}")
    async def change(
        subscription_id: SubscriptionId, body: SubscriptionPatch, principal: Administrator
    ) -> dict[str, Any]:
        """Also begins one anew that its receiver has ended with 410: what it missed meanwhile is sent."""
        wanted = body.model_dump(exclude_unset=True, exclude_none=True, exclude={"rotate_secret"})
        if wanted or not body.rotate_secret:
            changed = await desk.change(subscription_id, wanted, principal)
        if body.rotate_secret:
            return _with_secret(*await desk.rotate(subscription_id, principal))
        return changed.shown()

    @router.delete("/{subscription_id}", status_code=204)
    async def delete(subscription_id: SubscriptionId, principal: Administrator) -> Response:
        await desk.delete(subscription_id, principal)
        return Response(status_code=204)

    @router.post("/{subscription_id}/replay", status_code=202)
    async def replay(subscription_id: SubscriptionId, body: ReplayBody, principal: Administrator) -> dict[str, Any]:
        """Sends again what is in the log, in order, with the same ids; then goes on with what is new."""
        wanted = body.model_dump(exclude_none=True)
        if "customer_id" in wanted:
            wanted["of_customer"] = wanted.pop("customer_id")
        return (await desk.replay(subscription_id, wanted, principal)).shown()


def _with_secret(subscription: Subscription, secret: str) -> dict[str, Any]:
    return {**subscription.shown(), "secret": secret}
