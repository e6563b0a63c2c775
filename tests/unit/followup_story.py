"""One customer's story told to follow-up as the engine would tell it, each step checked for what must always hold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.followup.domain import FollowupDomain
from services.followup.processor import build_domain
from services.followup.state import Followups, Task
from shared.clock import Instant, from_rfc3339, to_datetime, to_instant, to_rfc3339
from shared.events import followups as f
from shared.events.customers import OfCustomer
from shared.events.envelope import Data, Event
from shared.events.segments import SegmentsChanged
from shared.processing.domain import Decision

CUSTOMER = "0d1f6c1e-4b0a-4f7b-9d55-3f3c2c1a9e01"
OTHER = "0d1f6c1e-4b0a-4f7b-9d55-3f3c2c1a9e02"
CONFIG = Path(__file__).parents[2] / "deploy" / "config"
DOMAIN = build_domain(CONFIG)
TERMINAL = (f.FollowupCompleted, f.FollowupMissed, f.FollowupCancelled)


def at(text: str) -> Instant:
    """`11-23 10:00` in 2026, Shanghai."""
    return from_rfc3339(f"2026-{text.replace(' ', 'T')}:00+08:00")


def local(instant: Instant) -> str:
    """The same way back."""
    return to_rfc3339(instant + 8 * 3_600_000)[5:16].replace("T", " ")


def frequency(value: str | None) -> SegmentsChanged:
    memberships = {"spend_level": "high"} if value is None else {"spend_level": "high", "purchase_frequency": value}
    return SegmentsChanged(customer_id=CUSTOMER, changes=(), memberships=memberships, rules_version="1")


def short(data: Data) -> str:
    return data.event_type.split(".")[2]


@dataclass
class Story:
    domain: FollowupDomain = DOMAIN
    state: Followups = field(default_factory=lambda: DOMAIN.initial(CUSTOMER))
    now: Instant = 0
    told: list[tuple[Instant, Data]] = field(default_factory=list)
    sent: int = 0

    def send(
        self, when: Instant, data: OfCustomer, *, history: bool = False, replay: bool = False, occurred: Instant = 0
    ) -> list[str]:
        """Timers due by then first, then the event. Gives back what the event itself made the domain say."""
        self.until(when)
        self.sent += 1
        event = Event(
            id=f"e{self.sent}",
            source="test",
            type=data.event_type,
            time=to_datetime(occurred or when),
            recordedtime=to_datetime(when),
            history=history or None,
            replay=replay or None,
            data=data,
        )
        return self._take([self.domain.on_event(self.state, event, when) for _ in range(2)], when)

    def until(self, when: Instant) -> list[str]:
        said = []
        while (wake := self.domain.wake_at(self.state)) is not None and wake <= when:
            assert wake >= self.now, "a timer before the present"
            said += self._take([self.domain.on_time(self.state, wake) for _ in range(2)], wake)
            after = self.domain.wake_at(self.state)
            assert after is None or after > wake, "wake_at did not move on"
        self.now = max(self.now, when)
        return said

    def _take(self, decisions: Sequence[Decision[Followups]], when: Instant) -> list[str]:
        first, second = decisions
        assert first == second, "the same question got two answers"
        before = self.state.model_dump_json(exclude_defaults=True)
        text = first.state.model_dump_json(exclude_defaults=True)
        assert Followups.model_validate_json(text) == first.state, "the state does not survive its own text"
        assert Followups.model_validate_json(before) == self.state, "the decision changed its argument"
        self.state, self.now = Followups.model_validate_json(text), max(self.now, when)
        self.told += [(when, data) for data in first.events]
        self.check()
        return [short(data) for data in first.events]

    def check(self) -> None:
        playbooks = [task.playbook for task in self.state.open]
        assert len(playbooks) == len(set(playbooks)), "two open tasks of one playbook"
        assert len(self.state.closed) <= self.domain.rules.keep_closed
        wake = self.domain.wake_at(self.state)
        assert wake is None or wake > self.now, "left something undone"

    def open(self, playbook: str) -> Task:
        return next(task for task in self.state.open if task.playbook == playbook)

    @property
    def tasks(self) -> dict[str, str]:
        return {task.playbook: task.state for task in self.state.open}

    def heard(self, *names: str) -> list[tuple[str, str, str | None]]:
        """When, what, why: of the whole story, or of these events only."""
        return [
            (local(when), short(data), getattr(data, "reason", None))
            for when, data in self.told
            if not names or short(data) in names
        ]


def check_told(told: Sequence[tuple[Instant, Data]]) -> None:
    """The laws over everything that was ever said: one beginning, one end, due when promised and never after the end."""
    promised: dict[str, Instant] = {}
    state: dict[str, str] = {}
    for when, data in told:
        if not isinstance(data, f.OfTask):
            continue
        task, known = data.task_id, state.get(data.task_id)
        match data:
            case f.FollowupScheduled():
                assert known is None, "scheduled twice"
                state[task], promised[task] = "scheduled", to_instant(data.due_at)
                assert data.deadline_at > data.due_at
            case f.FollowupRescheduled():
                assert known in ("scheduled", "due"), "moved after its end"
                if to_instant(data.due_at) != promised[task] or data.reason == "rescheduled":
                    state[task], promised[task] = "scheduled", to_instant(data.due_at)
            case f.FollowupDue():
                assert known == "scheduled", f"due while {known}"
                assert when == promised[task], "due at another instant than promised"
                state[task] = "due"
            case f.FollowupEscalated():
                assert known == "missed"
            case _ if isinstance(data, TERMINAL):
                assert known in ("scheduled", "due"), f"a second end: {known}"
                state[task] = short(data)
                if isinstance(data, f.FollowupMissed):
                    assert known == "due"
                    assert when == to_instant(data.deadline_at)
