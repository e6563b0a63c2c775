"""Subscriptions made, changed and ended: kept first, then said on Kafka, in the order of their numbers."""

import asyncio
import base64
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from services.intake import subscriptions
from services.intake.subscriptions import Secret, Subscription
from services.intake.subscriptions_register import SubscriptionRegister
from shared.clock import Clock
from shared.privacy import SubscriptionSeal
from shared.processing.ports import LogWriter, TransientError
from shared.web.destinations import reason_refused
from shared.web.keys import Principal
from shared.web.problems import Problem

MOST = 100
"""Living subscriptions: each may have some calls under way, and all of them fit into one process."""
MOST_SECRETS = 5
ATTEMPTS = 8
LOOK_AGAIN = 15.0
"""Seconds between looks for events that an earlier process kept and did not send."""
SECRET_BYTES = 32

log = logging.getLogger(__name__)


class SubscriptionDesk:
    """What the routes do, apart from HTTP. Every method raises Problem, or TransientError where the outcome is unknown."""

    def __init__(
        self, register: SubscriptionRegister, writer: LogWriter, seal: SubscriptionSeal, clock: Clock, *, private: bool
    ) -> None:
        self._register = register
        self._writer = writer
        self._seal = seal
        self._clock = clock
        self._private = private

    async def create(self, wanted: Mapping[str, Any], by: Principal, key: str | None) -> tuple[Subscription, str]:
        """With its secret in clear. The same Idempotency-Key again gives the same answer, other content 422."""
        self._check_url(wanted["url"])
        name = str(uuid4()) if key is None else subscriptions.id_of(by.key_id, key)
        print_ = subscriptions.fingerprint(wanted)
        if len(await self._register.living()) >= MOST and await self._register.get(name) is None:
            raise Problem(409, "Too many subscriptions", f"There are {MOST}; delete one that nobody needs.")
        now, secret = self._clock(), _new_secret()
        fresh = Secret(sealed=self._seal.seal(name, secrets.token_hex(8), secret))
        new = Subscription(
            id=name, created_at=now, changed_at=now, secrets=(fresh,), fingerprint=print_, **wanted
        )  # fmt: skip
        new = subscriptions.created(new, by.name)
        if not await self._register.add(new):
            return await self._repeated(name, print_)
        return await self.send(new), secret

    async def _repeated(self, name: str, print_: str) -> tuple[Subscription, str]:
        first = await self.get(name)
        if first.fingerprint != print_:
            raise Problem(422, "Used for other content", "This Idempotency-Key was already used for other content.")
        if first.number > 1:
            raise Problem(409, "Changed since", "It was made and then changed; rotate its secret to get one.")
        return await self.send(first), self._seal.open_(name, first.secrets[0].sealed)

    async def living(self) -> list[Subscription]:
        return await self._register.living()

    async def get(self, name: str) -> Subscription:
        found = await self._register.get(name)
        if found is None:
            raise Problem(404, "Unknown subscription", "GET /v1/subscriptions names those that there are.")
        if found.deleted:
            raise Problem(410, "Deleted subscription", "It was deleted; POST /v1/subscriptions makes a new one.")
        return found

    async def change(self, name: str, wanted: Mapping[str, Any], by: Principal) -> Subscription:
        if "url" in wanted:
            self._check_url(wanted["url"])
        return await self._moved(name, lambda found: subscriptions.changed(found, wanted, self._clock(), by.name))

    async def rotate(self, name: str, by: Principal) -> tuple[Subscription, str]:
        """A new secret, in clear; those before it go on signing beside it for a day."""
        secret = _new_secret()
        sealed = self._seal.seal(name, secrets.token_hex(8), secret)

        def move(found: Subscription) -> Subscription:
            after = subscriptions.rotated(found, sealed, self._clock())
            if len(after) > MOST_SECRETS:
                raise Problem(409, "Too many secrets", "Wait until an older one has ended, a day after its successor.")
            return subscriptions.changed(found, {"secrets": after}, self._clock(), by.name)

        return await self._moved(name, move), secret

    async def delete(self, name: str, by: Principal) -> None:
        await self._moved(name, lambda found: subscriptions.deleted(found, self._clock(), by.name))

    async def replay(self, name: str, wanted: Mapping[str, Any], by: Principal) -> Subscription:
        return await self._moved(name, lambda found: subscriptions.replayed(found, wanted, self._clock(), by.name))

    async def run(self) -> None:
        """Until cancelled: says what was kept and not said, in the end always."""
        while True:
            try:
                for left in await self._register.unsent():
                    await self.send(left)
                    log.info("a subscription's events are sent that an earlier attempt left")
            except TransientError:
                log.warning("a subscription's events could not be sent; they are kept and sent again")
            await asyncio.sleep(LOOK_AGAIN)

    async def _moved(self, name: str, move: Callable[[Subscription], Subscription]) -> Subscription:
        for _ in range(ATTEMPTS):
            moved = move(await self.get(name))
            if await self._register.save(moved):
                return await self.send(moved.model_copy(update={"rev": moved.rev + 1}))
        raise Problem(409, "Changed by somebody else", "Look at it again and repeat the change.")

    async def send(self, subscription: Subscription) -> Subscription:
        """What is not sent yet of it is sent, oldest first; whoever sends it a second time sends the same."""
        if subscription.outbox:
            await self._writer.publish(subscriptions.messages(subscription))
            await self._emptied(subscription)
        return subscription

    async def _emptied(self, subscription: Subscription) -> None:
        """Where this fails, or somebody changed it meanwhile, the same events are sent again later: no harm."""
        with suppress(TransientError):
            await self._register.save(subscriptions.sent(subscription, subscription.outbox))

    def _check_url(self, url: str) -> None:
        reason = reason_refused(url, private=self._private)
        if reason is not None:
            errors = [{"field": "url", "reason": reason}]
            raise Problem(422, "Invalid content", "Webhooks go to public HTTPS addresses only.", errors)  # type: ignore[arg-type]


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
