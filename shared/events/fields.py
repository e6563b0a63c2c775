"""Field types that carry meaning: ids, times, money, sealed values."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic_core import PydanticCustomError

from shared.clock import to_instant, to_rfc3339

T = TypeVar("T")


def _as_utc(moment: datetime) -> datetime:
    """PydanticCustomError where UTC has no such date: an OverflowError would pass through the validation."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("date_range", "lies outside of the years 1 to 9999 in UTC") from None


def _write_utc(moment: datetime) -> str:
    return to_rfc3339(to_instant(moment))


UtcDateTime = Annotated[
    AwareDatetime,
    Field(json_schema_extra={"format": "date-time"}),
    AfterValidator(_as_utc),
    PlainSerializer(_write_utc, return_type=str, when_used="json"),
]
"""RFC 3339 with an offset on the wire, UTC inside, milliseconds when written."""

CustomerId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]
"""A UUID as lower-case text; it is the record key, so it says nothing about the person."""

CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Channel = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Consent = Literal["granted", "denied"]
Severity = Literal["low", "normal", "high", "critical"]


class Model(BaseModel):
    """A tolerant reader: unknown fields are ignored, values never change after reading."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, serialize_by_alias=True, validate_by_name=True, validate_by_alias=True
    )


class Money(Model):
    """An exact amount; on the wire the amount is a decimal in text, never a float."""

    amount: Annotated[Decimal, Field(max_digits=24, decimal_places=8)]
    currency: CurrencyCode


class Sealed(Model, Generic[T]):
    """A personal value for the holder of the customer's key: AES-256-GCM, base64url of nonce and ciphertext.

    `field` and the event's id are bound to the ciphertext (additional data), so that it cannot be moved elsewhere.
    """

    field: str
    event_id: str
    ciphertext: str


SealedText = Sealed[str]
