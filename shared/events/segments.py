"""What segmentation publishes on `guanxi.segments.v1`."""

from typing import Any, ClassVar

from pydantic import Field

from shared.events.customers import OfCustomer
from shared.events.fields import Model

Membership = str | tuple[str, ...] | None


class MetricValue(Model):
    """A measured value beside the threshold that decided; both as text where they are money or decimals."""

    value: Any = None
    threshold: Any = None


class Because(Model):
    """Why a dimension changed: values against thresholds, the events that counted, and those that left a window."""

    values: dict[str, MetricValue] = {}
    events: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    rule: str | None = None


class SegmentChange(Model):
    dimension: str
    from_: Membership = Field(default=None, alias="from")
    to: Membership = None
    because: Because = Because()


class SegmentsChanged(OfCustomer):
    event_type: ClassVar[str] = "guanxi.segments.changed.v1"
    changes: tuple[SegmentChange, ...]
    memberships: dict[str, Membership]
    composites: tuple[str, ...] = ()
    rules_version: str


class CustomerForgotten(OfCustomer):
    """A service's answer to an erasure, on its own topic."""

    event_type: ClassVar[str] = "guanxi.customer.forgotten.v1"
    receipt_id: str
