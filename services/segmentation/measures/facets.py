"""What is stated of a customer: facets, custom fields, channel, owner and tags, as they are registered and corrected."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from services.segmentation.measures.streams import Kept, plain
from services.segmentation.state import Stated
from shared.events.customers import CustomerAssigned, CustomerCorrected, CustomerRegistered, Facets
from shared.events.envelope import Data

CUSTOM = "custom."
PLAIN = ("channel", "owner", "tags")
KNOWN = (*Facets.model_fields, *PLAIN)
"""Names of facets other than custom fields."""


def stated(data: Data, wanted: Iterable[str]) -> dict[str, Kept]:
    """The wanted facets that the event states, and their values; None: no longer."""
    match data:
        case CustomerRegistered():
            found = {name: _value(_registered(data, name)) for name in wanted}
            return {name: value for name, value in found.items() if value is not None}
        case CustomerCorrected():
            return {name: _value(data.changes[name].to) for name in wanted if name in data.changes}
        case CustomerAssigned():
            return {name: _value(data.owner) for name in wanted if name == "owner"}
    return {}


def with_stated(facets: Mapping[str, Stated], values: Mapping[str, Kept], event_id: str) -> dict[str, Stated]:
    return {**facets, **{name: (value, event_id) for name, value in values.items()}}


def _registered(data: CustomerRegistered, name: str) -> Any:
    if name.startswith(CUSTOM):
        return data.custom.get(name.removeprefix(CUSTOM))
    return getattr(data if name in PLAIN else data.facets, name, None)


def _value(value: Any) -> Kept:
    """One text, or several sorted; what is neither (an object) is no facet."""
    if isinstance(value, tuple | list):
        members = {plain(member) for member in value if isinstance(member, str | int | float | Decimal)}
        return tuple(sorted(members)) or None
    return plain(value) if isinstance(value, str | int | float | Decimal) and value != "" else None
