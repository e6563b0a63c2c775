"""One customer at the record where another version succeeds: the new version's whole past in place of the old one's. Pure."""

from dataclasses import dataclass
from typing import Any

from shared.clock import Instant
from shared.events.customers import RulesActivated
from shared.events.envelope import Data
from shared.processing.arrivals import Arrival
from shared.processing.document import Document, Entry
from shared.processing.domain import FIRST_VERSION, Successive
from shared.processing.emission import Cause, write
from shared.processing.outbox import Covered, pending
from shared.processing.partition_time import PartitionTime
from shared.processing.ports import FatalError


@dataclass(frozen=True, slots=True)
class Succession:
    """`domain` succeeds at `arrival`; `time` is the partition's with that record, up to which all timers have fired."""

    domain: Successive[Any]
    arrival: Arrival
    time: PartitionTime

    @property
    def written(self) -> RulesActivated:
        return self.domain.written

    def has_changed_over(self, document: Document) -> bool:
        """By an earlier attempt, whose owner may even have gone on behind the record."""
        record = self.arrival.record
        return document.positions.get(self.arrival.input, -1) >= record.offset


def change_over(
    before: Document, after: Document | None, succession: Succession, covered: Covered
) -> tuple[Document, Entry | None]:
    """`after` is the customer's document in a fold of all before the record under the new version alone: what was decided
    is taken from there; numbers, fences and the outbox go on. The second: what is to be told of the difference, if anything.

    FatalError where the two have not seen the same records.
    """
    if after is None or not _saw_the_same(before, after, succession.arrival.input):
        raise FatalError(
            f"version {succession.written.number} was prepared from other records than those that were applied in "
            f"partition {before.partition}: `guanxi provision --repair` says whether the log has lost some"
        )
    arrival = succession.arrival
    at = max(before.at, after.at)
    changed = after.replaced(
        rev=before.rev + 1,
        at=at,
        positions={**before.positions, arrival.input: arrival.record.offset},
        sequence=before.sequence,
        outbox=tuple(entry for entry in before.outbox if pending(before, entry, covered)),
        unsent=before.unsent and any(not e.position and pending(before, e, covered) for e in before.outbox),
        disordered=before.disordered,
        renumbered=before.renumbered,
        history=_bracket(after, succession.time),
        version=succession.written.number,
    )
    at = max(at, succession.time.until(changed.history))
    reason = f"rules version {succession.written.number}"
    event = difference(succession.domain, before, after, at, reason)
    return (changed, None) if event is None else told(succession, changed, event, at)


def _bracket(document: Document, time: PartitionTime) -> int | None:
    """None where its bracket has ended since the customer was last touched."""
    ended = document.history is not None and time.has_ended(document.history)
    return None if ended else document.history


def _saw_the_same(before: Document, after: Document, activating: str) -> bool:
    """An earlier succession counts as seen by the one and not by the other."""
    behind = {key for key, offset in before.positions.items() if after.positions.get(key, -1) != offset}
    later = before.version != FIRST_VERSION and behind <= {activating}
    return after.positions.keys() == before.positions.keys() and (not behind or later)


def difference(domain: Successive[Any], before: Document, after: Document, at: Instant, reason: str) -> Data | None:
    """Of two documents of the same customer, `after` of `domain`'s version. None where nothing was ever decided of it, and
    of the erased."""
    if after.erased or before.erased or (before.state is None and after.state is None):
        return None
    read = domain.state_type.model_validate_json
    try:
        now = read(after.state) if after.state is not None else domain.initial(after.id)
        return domain.difference(read(before.state) if before.state is not None else None, now, at, reason)
    except Exception as error:
        raise FatalError(
            f"a customer's difference under {reason} cannot be told ({type(error).__name__}); nothing of it was saved: "
            "run a version of this service that can"
        ) from error


def told(succession: Succession, document: Document, event: Data, at: Instant) -> tuple[Document, Entry]:
    """The document with its difference in the outbox, as the next number, caused by the record."""
    arrival = succession.arrival
    assert arrival.event is not None  # noqa: S101 - it was read, or it would succeed nothing
    mark = document.mark if document.history is not None else None
    cause = Cause(arrival.position, arrival.event.id, arrival.event.correlationid or arrival.event.id, mark)
    return numbered(succession.domain.service, document, event, at, cause)


def numbered(service: str, document: Document, event: Data, at: Instant, cause: Cause) -> tuple[Document, Entry]:
    """`event` as the next number of the customer, in its outbox."""
    number = document.sequence + 1
    inputs = ",".join(f"{key}:{offset}" for key, offset in sorted(document.positions.items()))
    entry = Entry(cause.position, write(service, document.id, number, event, at, cause, inputs))
    changed = document.replaced(
        at=at, sequence=number, outbox=(*document.outbox, entry), unsent=document.unsent or not cause.position
    )
    return changed, entry
