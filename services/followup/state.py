"""What follow-up knows of one customer: promised contacts and the facts that decide about them."""

from typing import Literal

from services.followup.reasons import Reason
from shared.clock import Instant
from shared.events.fields import Model

TaskState = Literal["scheduled", "due", "completed", "missed", "cancelled"]
ListSection = Literal["escalated", "due"]
"""The parts of a worklist that have a name; the others are days."""
OPEN: tuple[TaskState, ...] = ("scheduled", "due")


class Task(Model):
    """One promised contact. It carries what its playbook said when it was promised, so that a change of the file
    changes no promise.

    `basis` and `every_days`: from which instant, and how many days on, a regular contact was reckoned.
    """

    id: str
    playbook: str
    why: Reason
    state: TaskState = "scheduled"
    assignee: str
    channel: str
    priority: int = 0
    content_key: str
    made_at: Instant
    due_at: Instant
    deadline_at: Instant
    basis: Instant | None = None
    every_days: int | None = None
    closed_at: Instant | None = None
    closed_why: Reason | None = None

    @property
    def next_at(self) -> Instant:
        """When time alone changes it next (open tasks only)."""
        return self.due_at if self.state == "scheduled" else self.deadline_at


class Followups(Model):
    """One customer's state. `counted_from`: per playbook, the instant that stands for a last contact where there is
    none, or where a task was missed or skipped after it. `made`: tasks ever made, per playbook."""

    customer_id: str = ""
    timezone: str | None = None
    owner: str | None = None
    denied: tuple[str, ...] = ()
    objected: bool = False
    merged: bool = False
    segments: dict[str, str] = {}
    last_contact_at: Instant | None = None
    counted_from: dict[str, Instant] = {}
    made: dict[str, int] = {}
    open: tuple[Task, ...] = ()
    closed: tuple[Task, ...] = ()


def escalated(state: Followups) -> tuple[Task, ...]:
    """What was missed and has had no contact since: it stays on the worklist of those to whom it was escalated."""
    since = state.last_contact_at
    if state.merged:
        return ()
    return tuple(
        task
        for task in state.closed
        if task.state == "missed" and task.closed_at is not None and (since is None or since < task.closed_at)
    )
