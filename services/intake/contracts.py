"""What the outside may send: strict variants (nothing unknown, offsets required) made from the event models themselves."""

import re
import types
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from shared.events import customers as c
from shared.events.codec import short_name
from shared.events.envelope import Data
from shared.events.fields import Channel, Consent, CustomerId, Model

INTERACTIONS: tuple[type[Data], ...] = (
    c.InquiryReceived,
    c.PurchaseMade,
    c.PurchaseRefunded,
    c.OrderUpdated,
    c.CallEnded,
    c.MessageExchanged,
    c.VisitHeld,
    c.MeetingHeld,
    c.SurveyAnswered,
    c.FeedbackReceived,
    c.ServicePerformed,
    c.UsageReported,
    c.SignalObserved,
    c.OpportunityUpdated,
)
STAFF_ACTIONS: tuple[type[Data], ...] = (c.ContactMade, c.TaskActedOn, c.CaseActedOn)
CUSTOMER_FACTS: tuple[type[Data], ...] = (
    c.CustomerConsentChanged,
    c.CustomerAssigned,
    c.CustomerObjected,
    c.CustomerObjectionWithdrawn,
)
"""Facts of the customer itself that may also come as events; intake's own view follows them."""

SEALED_FIELDS: dict[str, tuple[str, ...]] = {
    "inquiry.received": ("text",),
    "call.ended": ("summary",),
    "message.exchanged": ("text",),
    "visit.held": ("notes",),
    "meeting.held": ("notes",),
    "feedback.received": ("text",),
    "service.performed": ("notes",),
    "contact.made": ("content", "result", "next_plan"),
    "case.acted_on": ("note",),
}
PERSONAL = ("name", "phone", "email", "address", "birth_date", "company", "note")
"""Fields of the customer that travel sealed only."""

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def _written_out(value: Any) -> Any:
    """A bare number would be read as seconds since 1970 in a zone that nobody stated."""
    if isinstance(value, str) and not _DATE_TIME.match(value):
        raise ValueError("an RFC 3339 date-time with an offset is required")
    if isinstance(value, int | float | Decimal):
        raise ValueError("an RFC 3339 date-time with an offset is required")  # noqa: TRY004 - pydantic reports ValueError
    return value


def _numbers(value: Any) -> Any:
    """Numbers of custom fields are no amounts: they stay JSON numbers."""
    if isinstance(value, dict):
        return {name: _numbers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_numbers(member) for member in value]
    return float(value) if isinstance(value, Decimal) else value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
Amount = Annotated[Decimal, Field(max_digits=30, decimal_places=10)]
Name = Annotated[str, Field(min_length=1, max_length=256)]


class Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, serialize_by_alias=True, validate_by_name=True, validate_by_alias=True
    )


class ExternalKey(Strict):
    system: Name
    id: Name


class CustomerBlock(Strict):
    """Who it is (id, external_id, phone or email), and what is worth knowing if nobody knew them yet."""

    id: CustomerId | None = None
    external_id: ExternalKey | None = None
    phone: Annotated[str, Field(max_length=64)] | None = None
    email: Annotated[str, Field(max_length=320)] | None = None
    name: Name | None = None
    address: Annotated[str, Field(max_length=2_000)] | None = None
    birth_date: date | None = None
    company: Name | None = None
    note: Annotated[str, Field(max_length=20_000)] | None = None
    region: Name | None = None
    country: Name | None = None
    language: Name | None = None
    timezone: Name | None = None
    age_band: Name | None = None
    gender: Name | None = None
    birthday: c.Birthday | None = None
    industry: Name | None = None
    company_size: Name | None = None
    interests: tuple[Name, ...] | None = None
    tags: tuple[Name, ...] | None = None
    owner: Name | None = None
    channel: Channel | None = None
    consents: dict[Channel, Consent] | None = None
    custom: dict[Name, Annotated[Any, BeforeValidator(_numbers)]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        """`facets` and `sealed` may be written as in `customer.registered`: their members stand for themselves."""
        return lifted(value, "facets", "sealed")


def lifted(value: Any, *groups: str) -> Any:
    """The same document with the members of these groups moved up; a name given twice keeps its group, and is refused."""
    if not isinstance(value, dict) or not any(isinstance(value.get(group), dict) for group in groups):
        return value
    flat = {name: member for name, member in value.items() if name not in groups}
    for group in groups:
        members = value.get(group)
        if members is None:
            continue
        if not isinstance(members, dict) or members.keys() & flat.keys():
            flat[group] = members
        else:
            flat.update(members)
    return flat


class Submission(Strict):
    """One event as its emitter tells it. `data` is narrowed to the event's type in `submission_model`."""

    type: str
    id: Name | None = None
    source: Name | None = None
    time: Moment | None = None
    customer: CustomerBlock
    data: Any = None


@lru_cache
def accepted_types() -> dict[str, type[Data]]:
    """Short and full name to the model, for every type that may be sent from outside."""
    accepted = (*INTERACTIONS, *STAFF_ACTIONS, *CUSTOMER_FACTS)
    return {name: data for data in accepted for name in (short_name(data.event_type), data.event_type)}


def is_staff(data: type[Data]) -> bool:
    return data in STAFF_ACTIONS


@lru_cache
def submission_model(data: type[Data]) -> type[Submission]:
    edge = edge_model(data)
    optional = all(not field.is_required() for field in edge.model_fields.values())
    fields: dict[str, Any] = {"data": (edge, edge() if optional else ...)}
    return create_model(f"{data.__name__}Submission", __base__=Submission, **fields)


class _EdgeData(Strict):
    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return lifted(value, "sealed")


@lru_cache
def edge_model(data: type[Data]) -> type[Strict]:
    """The data as sent: without `customer_id`, its sealed fields as plain texts that intake will seal."""
    fields = _strict_fields(data, {"customer_id", "sealed"})
    for name in SEALED_FIELDS.get(short_name(data.event_type), ()):
        fields[name] = (str | None, None)
    return create_model(f"{data.__name__}Input", __base__=_EdgeData, **fields)


@lru_cache
def _strict_model(model: type[Model]) -> type[Strict]:
    return create_model(f"{model.__name__}Input", __base__=Strict, **_strict_fields(model, set()))


def _strict_fields(model: type[Model], without: set[str]) -> dict[str, Any]:
    kept = {name: field for name, field in model.model_fields.items() if name not in without}
    return {name: (_strict(_annotated(field)), _default(field)) for name, field in kept.items()}


def _annotated(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _default(field: Any) -> Any:
    return Field(default=... if field.is_required() else field.default, alias=field.alias)


def _strict(annotation: Any) -> Any:
    """The same annotation with strict models, date-times that know their offset, and decimals of sane length."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(_strict(arguments[0]), *arguments[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(_strict(argument) for argument in arguments)]  # noqa: UP007 - built at run time
    if origin in (tuple, dict, list):
        return origin[tuple(argument if argument is ... else _strict(argument) for argument in arguments)]
    return _strict_leaf(annotation)


def _strict_leaf(annotation: Any) -> Any:
    if annotation is datetime:
        return Moment
    if annotation is Decimal:
        return Amount
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return _strict_model(annotation)
    return annotation
