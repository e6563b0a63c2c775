"""What intake's documents in the store look like. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.intake.batches import Batch, Claim, entry_from
from services.intake.customers import Change, Customer

Row = Mapping[str, Any]


def batch_row(batch: Batch) -> dict[str, Any]:
    return {
        "_id": batch.id,
        "owner": batch.owner,
        "number": batch.number,
        "at": batch.at,
        "pending": True,
        "entries": [entry.to_fields() for entry in batch.entries],
    }


def batch_of(row: Row) -> Batch:
    entries = tuple(entry_from(fields) for fields in row["entries"])
    return Batch(row["_id"], row["owner"], row["number"], row["at"], entries)


def claim_row(batch: Batch, index: int) -> dict[str, Any]:
    entry = batch.entries[index]
    return {
        "_id": entry.claim,
        "f": entry.fingerprint,
        "b": batch.id,
        "i": index,
        "e": entry.event_id,
        "c": entry.customer_id,
        "r": entry.registered,
    }


def claim_of(row: Row) -> Claim:
    return Claim(row["_id"], row["f"], row["b"], row["i"], row["e"], row["c"], row["r"])


def customer_row(customer: Customer, batch_id: str) -> dict[str, Any]:
    """The state, and only the changes of the batch that brought it about: a history grows, a document must not."""
    return {
        "_id": customer.id,
        "rev": customer.rev,
        "customer": customer.model_dump_json(exclude={"changes"}),
        "b": batch_id,
        "changes": [change.model_dump_json() for change in customer.changes],
    }


def customer_of(row: Row) -> Customer:
    return Customer.model_validate_json(row["customer"])


def filed(row: Row) -> list[dict[str, Any]]:
    """The changes that a customer's row still holds, as rows of their own; the same ones whoever files them."""
    return [
        {
            "_id": f"{row['_id']}:{row['rev']}:{n}",
            "c": row["_id"],
            "b": row.get("b"),
            "rev": row["rev"],
            "n": n,
            "change": text,
        }
        for n, text in enumerate(row.get("changes", ()))
    ]


def history(rows: Iterable[Row]) -> list[Change]:
    """Oldest first; what was filed twice or is still held too counts once."""
    by_place = {(row["rev"], row["n"]): row["change"] for row in rows}
    return [Change.model_validate_json(by_place[place]) for place in sorted(by_place)]
