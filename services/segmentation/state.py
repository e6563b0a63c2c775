"""What segmentation keeps of one customer: facts as far back as the rules look, memberships, the next instant to look again."""

from shared.clock import Instant
from shared.events.fields import Model
from shared.events.segments import Membership

Part = tuple[str, str, str]
"""Currency, bought, refunded: what one order amounts to in one currency, as decimal text."""

Order = tuple[Instant, tuple[str, ...], str | None, tuple[Part, ...], str | None]
"""Earliest time, ids of its events, order id, parts, net amount in the base currency (None: refunded in full)."""

Refund = tuple[Instant, tuple[str, ...], str | None, tuple[Part, ...], str]
"""A refund whose order was not seen (yet), formed like an order; its net amount is negative or zero."""

Weight = tuple[str, str, str]
"""Category (empty: none), currency, amount: what of an order was spent on what."""

Weights = tuple[Weight, ...]
"""Of one purchase: its whole amount, under the category of what its items leave of it; then each item."""

Folded = tuple[Instant, Instant, int]
"""First, last and number of the purchases that were given up to keep the state within its limit."""

Entry = tuple[Instant, tuple[str, ...], int, str | tuple[str, ...] | None]
"""One event in a stream: when it counts from, its id, points, the value that is kept (numbers as decimal text)."""

Fold = tuple[Instant, Instant, int, int, str]
"""First, last, number, points and sum of the values of the entries that a stream gave up to keep within its limit."""

Stated = tuple[str | tuple[str, ...] | None, str]
"""A facet as last stated (None: no longer), and by which event."""

Segment = tuple[Membership, Instant, Instant | None]
"""A value (None: in none), since when, and up to when time alone surely leaves it (None: for ever)."""


class CustomerState(Model):
    """Orders, refunds and the entries of streams are sorted by time. `goods`: what orders that name categories were spent on, by
    the order's first event id. `dropped`: events that orders no longer name, and refunds given up. `segments`: per dimension;
    `composites` likewise (None: not evaluated, or objected). `held`: until when a dimension with a minimum dwell publishes
    nothing. `ever`: values that latches remember. `next_at`: the soonest instant at which time alone changes anything.

    Plain tuples and text, because this is written as JSON with every batch and read back faster than nested models.
    """

    customer_id: str
    orders: tuple[Order, ...] = ()
    refunds: tuple[Refund, ...] = ()
    folded: Folded | None = None
    goods: dict[str, tuple[Weights, ...]] = {}
    dropped: int = 0
    streams: dict[str, tuple[Entry, ...]] = {}
    folds: dict[str, Fold] = {}
    facets: dict[str, Stated] = {}
    segments: dict[str, Segment] = {}
    composites: tuple[tuple[str, ...], Instant, Instant | None] | None = None
    held: dict[str, Instant] = {}
    ever: dict[str, tuple[str, ...]] = {}
    objected: bool = False
    next_at: Instant | None = None

    @property
    def given_up(self) -> int:
        """How many events no longer count, or are no longer named, to keep within the limits."""
        orders = self.folded[2] if self.folded is not None else 0
        return orders + sum(fold[2] for fold in self.folds.values()) + self.dropped

    def memberships(self) -> dict[str, Membership]:
        return {name: value for name, (value, _, _) in self.segments.items() if value is not None}
