"""The table that a downstream system keeps: each customer's segments, and by their numbers whether anything is missing."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SCHEMA = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
CREATE TABLE IF NOT EXISTS customers
  (id TEXT PRIMARY KEY, number INTEGER NOT NULL, applied INTEGER NOT NULL, missing TEXT NOT NULL,
   memberships TEXT, composites TEXT);
"""
_NOBODY = (0, 0, "[]", None, None)


class Memberships:
    """SQLite, one file. A customer's segments, the number up to which they are true, and the numbers below it that have not
    come are written in one statement."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_SCHEMA)

    def apply(self, event: Mapping[str, Any]) -> int:
        """How many numbers are missing right before it (0: none). What was seen already changes nothing.

        Each event holds the whole memberships, so the table is right again after a gap; only the history has a hole, until
        a replay brings what is missing.
        """
        customer, number, data = event["subject"], int(event["sequence"]), event["data"]
        known, applied, text, *held = self._row(customer)
        missing = json.loads(text)
        if number in missing:  # of the past: it fills the hole, the segments are newer
            self._write(customer, known, applied + 1, [one for one in missing if one != number], *held)
        if number <= known:
            return 0
        if "memberships" not in data:  # forgotten, and so it is here: what was not told before is owed no more
            self._write(customer, number, number, [], None, None)
            return 0
        gap = range(known + 1, number)
        segments = json.dumps(data["memberships"], sort_keys=True), json.dumps(data.get("composites", []))
        self._write(customer, number, applied + 1, [*missing, *gap], *segments)
        return len(gap)

    def proof(self) -> dict[str, int]:
        """`numbers`: the sum of all customers' newest numbers, which is how many events there are. `applied`: of these, those
        that came, once each; of the forgotten all count."""
        query = "SELECT count(*), total(number), total(applied), total(json_array_length(missing)) FROM customers"
        found = self._database.execute(query).fetchone()
        return dict(zip(("customers", "numbers", "applied", "missed"), map(int, found), strict=True))

    def numbers(self) -> dict[str, int]:
        return dict(self._database.execute("SELECT id, number FROM customers"))

    def of(self, customer: str) -> dict[str, Any] | None:
        *_, memberships, _ = self._row(customer)
        return json.loads(memberships) if memberships else None

    def composites(self, customer: str) -> list[str]:
        *_, composites = self._row(customer)
        return json.loads(composites) if composites else []

    def close(self) -> None:
        self._database.close()

    def _row(self, customer: str) -> tuple[Any, ...]:
        query = "SELECT number, applied, missing, memberships, composites FROM customers WHERE id = ?"
        row: tuple[Any, ...] = self._database.execute(query, (customer,)).fetchone() or _NOBODY
        return row

    def _write(self, customer: str, number: int, applied: int, missing: list[int], *segments: str | None) -> None:
        row = (customer, number, applied, json.dumps(missing), *segments)
        self._database.execute("REPLACE INTO customers VALUES (?, ?, ?, ?, ?, ?)", row)
