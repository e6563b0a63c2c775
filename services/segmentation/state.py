"""What segmentation keeps of one customer: facts as far back as the rules look, memberships, the next instant to look again."""

from shared.clock import Instant
from shared.events.fields import Model

Part = tuple[str, str, str]
"""Currency, bought, refunded: what one order amounts to in one currency, as decimal text."""

Order = tuple[Instant, tuple[str, ...], str | None, tuple[Part, ...], str | None]
"""Earliest time, ids of its events, order id, parts, net amount in the base currency (None: refunded in full)."""

Refund = tuple[Instant, tuple[str, ...], str | None, tuple[Part, ...], str]
"""A refund whose order was not seen (yet), formed like an order; its net amount is negative or zero."""

Folded = tuple[Instant, Instant, int]
"""First, last and number of the purchases that were given up to keep the state within its limit."""

Change = tuple[Instant, dict[str, tuple[str | None, str | None]]]
"""When, and per dimension from what to what."""


class CustomerState(Model):
    """Orders and refunds are sorted by (time, event ids). `segments`: per dimension its value, since when, and up to when
    time alone surely leaves it (None: for ever); `next_at` is the soonest of these.

    Plain tuples and text, because this is written as JSON with every batch and read back faster than nested models.
    """

    customer_id: str
    orders: tuple[Order, ...] = ()
    refunds: tuple[Refund, ...] = ()
    folded: Folded | None = None
    segments: dict[str, tuple[str, Instant, Instant | None]] = {}
    recent: tuple[Change, ...] = ()
    objected: bool = False
    next_at: Instant | None = None
