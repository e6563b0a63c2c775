"""When too much fails, stop: a bad deploy must not park or dead-letter everybody."""

from collections import deque

from shared.clock import Instant, to_rfc3339
from shared.events.catalog import dead_letters
from shared.processing.arrivals import Arrival
from shared.processing.ports import FatalError
from shared.processing.records import LARGEST_MESSAGE, Message

IN_A_ROW = 20
WINDOW = 1_000
SHARE = 0.05


class FailureBudget:
    """Counts records that parked a customer or went to the dead letters. Judged before anything of the batch is saved."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._window: deque[bool] = deque(maxlen=WINDOW)

    def copied(self) -> "FailureBudget":
        """For an attempt that may have to be redone: what fails in both must not count twice."""
        copy = FailureBudget()
        copy._in_a_row, copy._window = self._in_a_row, self._window.copy()
        return copy

    def count(self, failed: bool) -> None:
        """FatalError when more than 20 in a row or 5 % of the last 1,000 failed."""
        self._in_a_row = self._in_a_row + 1 if failed else 0
        self._window.append(failed)
        share = sum(self._window) / WINDOW if failed and len(self._window) == WINDOW else 0.0
        if self._in_a_row > IN_A_ROW or share > SHARE:
            raise FatalError(
                f"{self._in_a_row} records in a row and {sum(self._window)} of the last {len(self._window)} failed: "
                "this looks like a bad deploy. Nothing of this batch was saved; run the previous version or fix this one, then start again"
            )


def dead_letter(service: str, arrival: Arrival, at: Instant) -> Message:
    """The untouched record, with why and from where in the headers.

    With these it may be more than a message may hold; others' producers may also have compressed it. Then it stays where it came
    from, which is kept for good, and `left-out` says how many bytes are to be read there.
    """
    record, topic = arrival.record, dead_letters(service).name
    told = (
        ("reason", b"undecodable"),
        ("error", (arrival.error or "unknown").encode()),
        ("original-topic", record.topic.encode()),
        ("original-partition", str(record.partition).encode()),
        ("original-offset", str(record.offset).encode()),
        ("failed-at", to_rfc3339(at).encode()),
    )
    whole = Message(topic, record.key, record.value, (*record.headers, *told), record.partition)
    if whole.size <= LARGEST_MESSAGE:
        return whole
    return Message(topic, None, None, (*told, ("left-out", str(whole.size).encode())), record.partition)
