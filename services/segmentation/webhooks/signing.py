"""Webhooks signed as Standard Webhooks says: id, timestamp and body under every secret that holds."""

from collections.abc import Sequence

from standardwebhooks.webhooks import Webhook

from services.segmentation.webhooks.subscriptions import Subscription
from shared.clock import SECOND, Instant, to_datetime, to_instant
from shared.events.codec import CONTENT_TYPE
from shared.privacy import SubscriptionSeal

Headers = list[tuple[str, str]]


class Signer:
    """Opens each subscription's secrets once per version of it."""

    def __init__(self, seal: SubscriptionSeal) -> None:
        self._seal = seal
        self._opened: dict[str, tuple[int, list[tuple[str, Instant | None]]]] = {}

    def headers(self, subscription: Subscription, event_id: str, at: Instant, body: bytes) -> Headers:
        """BrokenSeal where the secrets were sealed under another key-encryption key than ours."""
        holding = [secret for secret, until in self._secrets(subscription) if until is None or at < until]
        return [("content-type", CONTENT_TYPE), *signed(event_id, at, body, holding)]

    def _secrets(self, subscription: Subscription) -> list[tuple[str, Instant | None]]:
        number, opened = self._opened.get(subscription.id, (0, []))
        if number != subscription.changed:
            opened = [
                (self._seal.open_(subscription.id, one.sealed), None if one.until is None else to_instant(one.until))
                for one in subscription.secrets
            ]
            self._opened[subscription.id] = (subscription.changed, opened)
        return opened


def signed(event_id: str, at: Instant, body: bytes, secrets: Sequence[str]) -> Headers:
    """`at` counts in whole seconds, as the header does; each attempt has its own."""
    moment, text = to_datetime(at), body.decode()
    signatures = [Webhook(secret).sign(event_id, moment, text) for secret in secrets]
    return [
        ("webhook-id", event_id),
        ("webhook-timestamp", str(at // SECOND)),
        ("webhook-signature", " ".join(signatures)),
    ]
