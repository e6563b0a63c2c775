"""Follow-up's domain: what each event means for the promises to one customer."""

from collections.abc import Mapping
from typing import Any

from services.followup.cadence import reconcile, withdraw
from services.followup.hearing import hear_facts, hear_staff, hear_starts
from services.followup.rules import Rules
from services.followup.state import Followups, Task, escalated
from services.followup.turn import Terms, Turn
from shared.calendar import BusinessCalendar
from shared.clock import Instant
from shared.events import customers as c
from shared.events.envelope import Event
from shared.processing.domain import EMPTY_VIEW, Decision


class FollowupDomain:
    service = "followup"
    state_type = Followups

    def __init__(self, rules: Rules, calendar: BusinessCalendar) -> None:
        self._terms = Terms(rules, calendar)

    @property
    def rules(self) -> Rules:
        return self._terms.rules

    @property
    def calendar(self) -> BusinessCalendar:
        return self._terms.calendar

    def initial(self, customer_id: str) -> Followups:
        return Followups(customer_id=customer_id)

    def on_event(self, state: Followups, event: Event, at: Instant) -> Decision[Followups]:
        turn = Turn(self._terms, state, at, f"{event.source}/{event.id}")
        live = not event.history
        hear_facts(turn, event, live)
        if isinstance(event.data, c.CustomerErased):
            for task in list(turn.open):
                turn.close(task, "cancelled", "erased")
        elif live:
            hear_staff(turn, event)
            hear_starts(turn, event)
            reconcile(turn)
            _fire(turn)
        else:
            withdraw(turn)
        return turn.decision()

    def on_time(self, state: Followups, at: Instant) -> Decision[Followups]:
        turn = Turn(self._terms, state, at, "")
        _fire(turn)
        return turn.decision()

    def wake_at(self, state: Followups) -> Instant | None:
        return min((task.next_at for task in state.open), default=None)

    def view(self, state: Followups) -> Mapping[str, Any]:
        """`states`: of all tasks kept. `work`: whose worklist they stand on (`<section>/<staff>`), `load`: what they are
        (`<section>/<playbook>`). A section is `due`, `escalated`, or the day on which the task will be due."""
        if not state.open and not state.closed:
            return EMPTY_VIEW
        sections = [(self.section(task), task) for task in state.open]
        work = {f"{section}/{task.assignee}" for section, task in sections}
        work |= {f"escalated/{task.assignee}" for task in escalated(state)}
        return {
            "states": sorted({task.state for task in (*state.open, *state.closed)}),
            "work": sorted(work),
            "load": sorted(f"{section}/{task.playbook}" for section, task in sections),
        }

    def section(self, task: Task) -> str:
        return "due" if task.state == "due" else self.calendar.local_day(task.due_at).isoformat()


def _fire(turn: Turn) -> None:
    """What was missed may have a successor, and that may be due at once."""
    while missed := turn.fire():
        for task in missed:
            turn.cause = f"after/{task.id}"
            reconcile(turn)
