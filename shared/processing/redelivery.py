"""What a predecessor saved and may not have said: kept together until the redelivery is over, then said by its instants."""

from shared.processing.batch import Outcome
from shared.processing.document import Document, Entry

MOST_KEPT = 50_000
"""Entries; more than that are said as they come."""


class Redelivery:
    """Of one partition, from its takeover until the first record that nobody had applied.

    We cut batches elsewhere than our predecessor did. Said piece by piece, what is late in one piece would come before
    what is early in the next, and whoever merges us takes an input's time from what it has shown.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], tuple[Document, Entry]] = {}
        self._revisions: dict[str, int] = {}

    def full(self) -> bool:
        return len(self._entries) > MOST_KEPT

    def take(self, outcome: Outcome, partition: int) -> None:
        """Out of the outcome: all that this partition would say, each once, and what would be confirmed after it."""
        said = (*outcome.republished, *outcome.emitted)
        mine = [pair for pair in said if pair[0].partition == partition]
        for document, entry in mine:
            self._entries.setdefault((document.id, entry.event), (document, entry))
        outcome.republished = [pair for pair in outcome.republished if pair[0].partition != partition]
        outcome.emitted = [pair for pair in outcome.emitted if pair[0].partition != partition]
        for customer_id in {customer_id for customer_id, _ in self._entries} & outcome.confirmed.keys():
            self._revisions[customer_id] = outcome.confirmed.pop(customer_id)

    def give(self, outcome: Outcome) -> None:
        """Before what is new in the outcome."""
        known = {(document.id, entry.event) for document, entry in outcome.republished}
        kept = [pair for key, pair in self._entries.items() if key not in known]
        outcome.republished = kept + outcome.republished
        outcome.confirmed = self._revisions | outcome.confirmed
