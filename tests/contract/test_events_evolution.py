"""A shipped event type is never removed, renamed, retyped, narrowed or made to demand more: that is a new version."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from shared.events import codec
from tests.contract.evolution import breaches, current, shipped

COMMAND = "ship it: python -m tests.contract.evolution"


def test_every_type_is_shipped_and_none_has_gone() -> None:
    assert set(current()) <= set(shipped()), COMMAND
    gone = set(shipped()) - set(current())
    assert gone <= {name.removeprefix("guanxi.") for name in codec.UPCASTERS}, "a shipped type needs an upcaster to go"


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_type_still_serves_its_readers_and_writers(name: str) -> None:
    now = current().get(name)
    if now is not None:
        assert breaches(shipped()[name], now) == []
        assert shipped()[name] == now, COMMAND


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Shipped(BaseModel):
    order_id: str
    state: Literal["paid", "sent"] = "paid"
    lines: list[Line] = []
    score: Annotated[int, Field(ge=0, le=10)] | None = None
    code: Annotated[str, Field(pattern="^[A-Z]+$")] = "A"
    amounts: dict[str, Decimal] = {}


def changed(without: tuple[str, ...] = (), **fields: Any) -> type[BaseModel]:
    kept = {name: (info.annotation, info) for name, info in Shipped.model_fields.items() if name not in without}
    return create_model("Shipped", **(kept | fields))


def line(**fields: Any) -> tuple[Any, Any]:
    kept: dict[str, Any] = {"sku": (str, ...), "quantity": (int, 1)}
    chosen = {name: field for name, field in (kept | fields).items() if field}
    return (list[create_model("Line", **chosen)], [])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (changed(without=("score",)), "score: removed"),
        (changed(without=("code",), mark=(str, "A")), "code: removed"),
        (changed(order_id=(int, ...)), "order_id: was string, is integer"),
        (changed(order_id=(str | None, ...)), "order_id: was string, is null or string"),
        (changed(score=(Annotated[int, Field(ge=0, le=10)], 0)), "score: was integer or null, is integer"),
        (changed(state=(Literal["paid", "sent"], ...)), "state: newly required"),
        (changed(by=(str, ...)), "by: newly required"),
        (changed(state=(Literal["paid"], "paid")), "state: takes fewer values"),
        (changed(order_id=(Literal["a"], ...)), "order_id: takes fewer values"),
        (changed(score=(Annotated[int, Field(ge=1, le=10)] | None, None)), "score: its limits are narrower"),
        (changed(score=(Annotated[int, Field(ge=0, le=5)] | None, None)), "score: its limits are narrower"),
        (changed(code=(Annotated[str, Field(pattern="^[A-F]+$")], "A")), "code: its limits are narrower"),
        (changed(order_id=(Annotated[str, Field(max_length=9)], ...)), "order_id: its limits are narrower"),
        (changed(lines=line(quantity=None)), "lines[].quantity: removed"),
        (changed(lines=line(quantity=(str, "1"))), "lines[].quantity: was integer, is string"),
        (changed(lines=line(colour=(str, ...))), "lines[].colour: newly required"),
        (changed(lines=line(quantity=(int, ...))), "lines[].quantity: newly required"),
        (changed(amounts=(dict[str, str], {})), "amounts.*: was number or string, is string"),
    ],
)
def test_a_change_that_breaks_somebody_is_named(new: type[BaseModel], why: str) -> None:
    assert why in breaches(Shipped.model_json_schema(), new.model_json_schema())


class Extra(BaseModel):
    needed: str


@pytest.mark.parametrize(
    "new",
    [
        Shipped,
        changed(note=(str | None, None)),
        changed(state=(Literal["paid", "sent", "returned"], "paid")),
        changed(score=(Annotated[int, Field(ge=0, le=100)] | None, None)),
        changed(code=(str, "A")),
        changed(extra=(Extra | None, None)),
        changed(extras=(list[Extra], [])),
        changed(lines=line(colour=(str, "red"))),
    ],
)
def test_what_nobody_notices_is_no_new_version(new: type[BaseModel]) -> None:
    assert breaches(Shipped.model_json_schema(), new.model_json_schema()) == []
