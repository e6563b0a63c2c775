"""What services ask of intake on `guanxi.wakeups.v1`."""

from typing import ClassVar

from shared.events.envelope import Data
from shared.events.fields import UtcDateTime


class ClockTickWanted(Data):
    """A timer at `until` has passed on the wall clock, and no record has said so yet."""

    event_type: ClassVar[str] = "guanxi.clock.tick_wanted.v1"
    until: UtcDateTime
