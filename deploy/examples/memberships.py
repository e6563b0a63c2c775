"""The table that a downstream system keeps: each customer's segments, and by their numbers whether anything is missing."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SCHEMA = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
CREATE TABLE IF NOT EXISTS customers
  (id TEXT PRIMARY KEY, number INTEGER NOT NULL, applied INTEGER NOT NULL, missed INTEGER NOT NULL, memberships TEXT);
"""


class Memberships:
    """SQLite, one file. A customer's segments and the number up to which they are true are written in one statement."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_SCHEMA)

    def apply(self, event: Mapping[str, Any]) -> int:
        """How many numbers are missing before it (0: none). What was seen already changes nothing.

        Each event holds the whole memberships, so the table is right again after a gap; only the history has a hole.
        """
        customer, number = event["subject"], int(event["sequence"])
        known, applied, missed = self._known(customer)
        if number <= known:
            return 0
        gap = number - known - 1
        memberships = event["data"].get("memberships")  # absent: the customer was forgotten, and so it is here
        text = None if memberships is None else json.dumps(memberships, sort_keys=True)
        row = (customer, number, applied + 1, missed + gap, text)
        self._database.execute("REPLACE INTO customers VALUES (?, ?, ?, ?, ?)", row)
        return gap

    def proof(self) -> dict[str, int]:
        """`numbers`: the sum of all customers' newest numbers, which is how many events there are."""
        query = "SELECT count(*), total(number), total(applied), total(missed) FROM customers"
        found = self._database.execute(query).fetchone()
        return dict(zip(("customers", "numbers", "applied", "missed"), map(int, found), strict=True))

    def numbers(self) -> dict[str, int]:
        return dict(self._database.execute("SELECT id, number FROM customers"))

    def of(self, customer: str) -> dict[str, Any] | None:
        found = self._database.execute("SELECT memberships FROM customers WHERE id = ?", (customer,)).fetchone()
        return json.loads(found[0]) if found and found[0] else None

    def close(self) -> None:
        self._database.close()

    def _known(self, customer: str) -> tuple[int, int, int]:
        query = "SELECT number, applied, missed FROM customers WHERE id = ?"
        known: tuple[int, int, int] = self._database.execute(query, (customer,)).fetchone() or (0, 0, 0)
        return known
