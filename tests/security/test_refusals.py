"""Whatever is wrong with a document that intake is sent, its refusal quotes nothing of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.intake.answering import problem
from services.intake.checking import Checker, Sender, Stamp
from services.intake.contracts import SEALED_FIELDS, accepted_types
from services.intake.refusal import Refusal
from services.intake.rules import load_rules
from services.intake.shapes import read
from shared.clock import from_rfc3339
from shared.events.codec import short_name
from shared.events.envelope import Data
from shared.privacy import BlindIndex

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "contract" / "golden"
CANARY = "13800138000-canary"
WRONG: tuple[Any, ...] = (CANARY, [CANARY], {CANARY: CANARY}, {"a": {"b": CANARY}}, f"+{CANARY}", "x" * 70_000 + CANARY)
STAMP = Stamp(from_rfc3339("2026-03-02T09:15:31Z"))
CHECKER = Checker(load_rules(ROOT / "deploy" / "config" / "intake.yaml"), BlindIndex(b"p" * 32))
KINDS = sorted(set(accepted_types().values()), key=lambda kind: kind.event_type)


def sound(kind: type[Data]) -> dict[str, Any]:
    """The golden sample as somebody would send it: personal texts in clear, the customer by its phone."""
    sample = json.loads((GOLDEN / f"{short_name(kind.event_type)}.v1.json").read_text())
    data = {name: value for name, value in sample["data"].items() if name not in ("customer_id", "sealed")}
    data |= dict.fromkeys(SEALED_FIELDS.get(short_name(kind.event_type), ()), "in clear")
    customer = {"phone": "13800138000", "name": "Zhang Wei"}
    return {
        "type": short_name(kind.event_type),
        "time": sample["time"],
        "id": "1",
        "customer": customer,
        "data": data,
    }


def spoilt(node: Any) -> Iterator[Any]:
    """Every copy of the document with one part replaced by something that does not belong there."""
    yield from WRONG
    if isinstance(node, dict):
        yield {**node, CANARY: CANARY}
        for name, value in node.items():
            yield from ({**node, name: wrong} for wrong in spoilt(value))


def refusal_of(attempt: Callable[[], Any]) -> Refusal | None:
    try:
        attempt()
    except Refusal as refusal:
        return refusal
    return None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_sound_document_is_taken(kind: type[Data]) -> None:
    assert CHECKER.offer(sound(kind), Sender("k1"), STAMP).full == kind.event_type


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_refusal_quotes_the_document(kind: type[Data]) -> None:
    refused = 0
    for document in spoilt(sound(kind)):
        refusal = refusal_of(lambda document=document: CHECKER.offer(document, Sender("k1"), STAMP))
        if refusal is not None:
            refused += 1
            answer = problem(refusal)
            assert CANARY not in json.dumps(answer.body()) + str(answer.headers) + str(refusal)
            assert 400 <= answer.status < 500
    assert refused > 20


@pytest.mark.parametrize(
    "body",
    [CANARY, f'{{"a": {CANARY}', f'["{CANARY}"', f'"{CANARY}"', f'{{"{CANARY}": NaN}}', "[" * 20_000 + CANARY],
)
@pytest.mark.parametrize("kind", ["application/json", "application/cloudevents+json", CANARY])
def test_what_cannot_be_read_is_not_quoted(kind: str, body: str) -> None:
    refusal = refusal_of(
        lambda: CHECKER.offer(read(body.encode(), {"content-type": kind}).documents[0], Sender("k1"), STAMP)
    )
    assert refusal is not None
    assert CANARY not in json.dumps(problem(refusal).body()) + str(refusal)
