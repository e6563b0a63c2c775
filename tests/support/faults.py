"""One fault in the running system: it says what it witnessed, and in the end everything is as if it had not been."""

import time
from dataclasses import dataclass
from functools import partial

from shared.events.catalog import OUTPUT
from tests.support.copy import Copy, eventually
from tests.support.log_checks import Evidence, doubled, gaps, lost

ROWS: list["Row"] = []


@dataclass(slots=True)
class Row:
    """A line of the table. `over` must be reached, and with something witnessed: what was not seen was not tested."""

    name: str
    copy: Copy
    evidence: Evidence
    witness: str = ""
    lost: int = -1
    doubled: int = -1
    gaps: int = -1
    recovery: float = -1.0
    silence: float = -1.0

    def over(self, witness: str) -> None:
        """The fault is healed: seconds until nothing waits any more, then the quick checks."""
        self.witness = witness
        healed = time.monotonic()
        self.copy.wait_ready()
        self.silence = self.evidence.load.silence()
        self.evidence.load.pause()
        quiesce(self.copy, self.evidence)
        self.recovery = time.monotonic() - healed
        found = [list(check(self.evidence)) for check in (lost, doubled, gaps)]
        self.lost, self.doubled, self.gaps = map(len, found)
        ROWS.append(self)
        assert witness, "the fault was not seen to happen"
        assert not any(found), "\n".join(problem for some in found for problem in some[:10])
        self.evidence.load.resume()


def quiesce(copy: Copy, evidence: Evidence) -> None:
    """I10: no lag, nothing unsent. The load must be paused."""

    def still() -> bool:
        evidence.log.refresh()
        return all(evidence.log.waiting(service) == 0 for service in OUTPUT)

    eventually("every service has read everything", still)
    for service in OUTPUT:
        unsent = partial(copy.documents, service, {"unsent": {"$exists": True}})
        eventually(f"{service} has published everything", lambda unsent=unsent: not unsent())
    evidence.log.refresh()


def table(rows: list[Row]) -> str:
    lines = [("fault", "witness", "lost", "doubled", "gaps", "longest silence s", "recovery s")]
    for row in rows:
        figures = (str(row.lost), str(row.doubled), str(row.gaps), f"{row.silence:.1f}", f"{row.recovery:.1f}")
        lines.append((row.name, row.witness, *figures))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "".join(" | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + "\n" for line in lines)
