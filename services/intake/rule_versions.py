"""The versions of segmentation's rules: numbered, immutable, activated one after the other. Pure."""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.intake.batches import Entry, Line
from services.intake.domain import SOURCE, claim_of, mark_of_time
from services.intake.refusal import Refusal
from shared.clock import Instant
from shared.events.catalog import PARTITIONS
from shared.events.customers import RulesActivated

FIRST = 2
"""Version 1 is the file that segmentation started with."""
LARGEST = 150_000
"""Bytes of UTF-8: written as JSON, in any script, such a text still fits into one record of 1 MiB."""


class RuleVersion(BaseModel):
    """`activating`: its records may be in the log, and are not acknowledged yet."""

    model_config = ConfigDict(frozen=True)

    number: int
    digest: str
    by: str
    proposed_at: Instant
    state: Literal["proposed", "activating", "activated", "withdrawn"] = "proposed"
    activated_at: Instant | None = None


class Ledger(BaseModel):
    """All versions in one document, so that one compare-and-set by `rev` decides between two who change it at once."""

    model_config = ConfigDict(frozen=True)

    rev: int = 0
    versions: tuple[RuleVersion, ...] = ()

    @property
    def newest_activated(self) -> int:
        """0 where none was."""
        return max((v.number for v in self.versions if v.state == "activated"), default=0)

    def get(self, number: int) -> RuleVersion:
        found = next((version for version in self.versions if version.number == number), None)
        if found is None:
            raise Refusal(404, "Unknown version", "GET /v1/rules lists the versions.")
        return found

    def known(self, digest: str) -> RuleVersion | None:
        """The version of this text; None where it has none, or it was withdrawn or followed by others since: an old text
        that comes back is a new version."""
        same = [v for v in self.versions if v.digest == digest and v.state != "withdrawn"]
        return same[-1] if same and same[-1].number >= self.newest_activated else None

    def proposed(self, digest: str, by: str, at: Instant) -> "Ledger":
        if self.known(digest) is not None:
            return self
        number = self.versions[-1].number + 1 if self.versions else FIRST
        version = RuleVersion(number=number, digest=digest, by=by, proposed_at=at)
        return self.model_copy(update={"versions": (*self.versions, version)})

    def activating(self, number: int, at: Instant) -> "Ledger":
        """One at a time and never backwards, so that every partition has them in the order of their numbers."""
        version = self.get(number)
        if version.state in ("activating", "activated"):
            return self
        if version.state == "withdrawn":
            raise Refusal(409, "Withdrawn", "This version was called off; POST its text to /v1/rules again.")
        if number < self.newest_activated:
            detail = f"Version {self.newest_activated} is activated already; POST the text again for a number after it."
            raise Refusal(409, "Older than what is activated", detail)
        if other := next((v.number for v in self.versions if v.state == "activating"), None):
            detail = f"Version {other} is not acknowledged yet: POST /v1/rules/{other}/activation again first."
            raise Refusal(409, "Another version is being activated", detail)
        return self._with(version.model_copy(update={"state": "activating", "activated_at": at}))

    def activated(self, number: int) -> "Ledger":
        return self._with(self.get(number).model_copy(update={"state": "activated"}))

    def withdrawn(self, number: int) -> "Ledger":
        version = self.get(number)
        if version.state in ("activating", "activated"):
            detail = "It is in the log and stays there: activate the rules that you want instead."
            raise Refusal(409, "Activated already", detail)
        return self._with(version.model_copy(update={"state": "withdrawn"}))

    def _with(self, changed: RuleVersion) -> "Ledger":
        versions = tuple(changed if v.number == changed.number else v for v in self.versions)
        return self.model_copy(update={"versions": versions})


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def activation(version: RuleVersion, text: str) -> Entry:
    """One record per partition under one claim: written down before it is sent, so that whoever repeats it sends the same."""
    data = {"number": version.number, "rules": text, "digest": version.digest}
    at = version.activated_at or version.proposed_at
    lines = tuple(
        Line(mark_of_time(RulesActivated.event_type, at, f"rules\0{version.number}\0{p}", False, data).decode(), p)
        for p in range(PARTITIONS)
    )
    claim = claim_of(SOURCE, f"rules.activated\0{version.number}")
    return Entry(f"rules-{version.number}", "", lines, claim=claim, fingerprint=version.digest)
