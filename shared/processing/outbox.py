"""What a document still has to publish: its outbox, less what is known to be in the log."""

from collections.abc import Callable, Mapping

from shared.processing.document import Document, Entry

Covered = Callable[[str], bool]
"""Whether an outbox position is below the watermark of its own topic and partition."""


def unpublished(document: Document, covered: Covered) -> tuple[Entry, ...]:
    """What a document just loaded must publish before anything new."""
    return tuple(entry for entry in document.outbox if pending(document, entry, covered))


def pending(document: Document, entry: Entry, covered: Covered) -> bool:
    return not covered(entry.position) if entry.position else document.unsent


def covered_by(watermarks: Mapping[str, int]) -> Covered:
    """`watermarks` per position key: the offset that is committed next; an unknown watermark covers nothing."""

    def covered(position: str) -> bool:
        key, _, offset = position.rpartition(":")
        return watermarks.get(key, 0) > int(offset)

    return covered
