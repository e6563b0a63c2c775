"""One decision in the making: the customer's tasks as they change, and what is to be told of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from services.followup.reasons import Reason
from services.followup.rules import Playbook, Rules
from services.followup.state import Followups, Task, TaskState
from shared.calendar import BusinessCalendar
from shared.clock import MINUTE, Instant, to_datetime
from shared.events.envelope import Data
from shared.events.followups import (
    FollowupActionRefused,
    FollowupCancelled,
    FollowupCompleted,
    FollowupDue,
    FollowupEscalated,
    FollowupMissed,
    FollowupRescheduled,
    FollowupScheduled,
    OfTask,
)
from shared.processing.domain import Decision

TASK_IDS = UUID("6f6c1d3e-52a4-5a51-9d0b-0a6b8f6f3c11")
"""Namespace of task ids; changing it would give the tasks of a rebuilt state other ids."""

STANDS_IN: tuple[Reason, ...] = ("deadline_passed", "skipped")
"""Ends of a regular contact after which its due date counts as if there had been a contact then."""

_CLOSED: dict[TaskState, type[OfTask]] = {
    "completed": FollowupCompleted,
    "missed": FollowupMissed,
    "cancelled": FollowupCancelled,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What every decision needs besides the customer."""

    rules: Rules
    calendar: BusinessCalendar


class Turn:
    """Works on a copy; `decision()` gives what came of it. `cause` names what the tasks made here come from."""

    def __init__(self, terms: Terms, state: Followups, at: Instant, cause: str) -> None:
        self.rules, self.calendar = terms.rules, terms.calendar
        self.before, self.at, self.cause = state, at, cause
        self.facts: dict[str, Any] = {}
        """Fields of the state, other than tasks, that this turn changes."""
        self.open: list[Task] = list(state.open)
        self.closed: list[Task] = []
        self.events: list[Data] = []

    def know(self, name: str) -> Any:
        """A fact as this turn leaves it."""
        return self.facts[name] if name in self.facts else getattr(self.before, name)

    def learn(self, name: str, value: Any) -> None:
        if value != self.know(name):
            self.facts[name] = value

    @property
    def assignee(self) -> str:
        owner: str | None = self.know("owner")
        return owner or self.rules.default_assignee

    def task_of(self, playbook: str) -> Task | None:
        return next((task for task in self.open if task.playbook == playbook), None)

    def blocked(self, channel: str, profiling: bool) -> Reason | None:
        """Why this customer must not be contacted so, if that is the case."""
        if self.know("merged"):
            return "merged"
        if channel in self.know("denied"):
            return "consent_denied"
        return "objected" if profiling and self.know("objected") else None

    def promise(self, name: str, playbook: Playbook, why: Reason, due_at: Instant, **reckoned: int) -> None:
        """A new task, unless the playbook has one open, has had its only one, or must not be."""
        made: dict[str, int] = self.know("made")
        spent = playbook.occurs == "once" and made.get(name, 0) > 0
        if spent or self.task_of(name) or self.blocked(playbook.channel, playbook.profiling):
            return
        due_at = self.opening(due_at)
        task = Task(
            id=self.task_id(name),
            playbook=name,
            why=why,
            assignee=self.assignee,
            channel=playbook.channel,
            priority=playbook.priority,
            content_key=playbook.content_key,
            made_at=self.at,
            due_at=due_at,
            deadline_at=self.deadline(playbook, due_at),
            **reckoned,
        )
        self.learn("made", {**made, name: made.get(name, 0) + 1})
        self.open.append(task)
        self._tell(FollowupScheduled, task, why)

    def move(self, task: Task, due_at: Instant, why: Reason, **reckoned: int) -> None:
        """To another instant: it is scheduled again, and will be due then."""
        due_at = self.opening(due_at)
        playbook = self.rules.playbooks.get(task.playbook)
        # A playbook that is no longer in the file: the promise keeps the length that it had.
        deadline = self.deadline(playbook, due_at) if playbook else due_at + task.deadline_at - task.due_at
        if (task.due_at, task.deadline_at) == (due_at, deadline):
            self._put(task.model_copy(update=reckoned))
            return
        change = {"state": "scheduled", "due_at": due_at, "deadline_at": deadline, **reckoned}
        self._tell(FollowupRescheduled, self._put(task.model_copy(update=change)), why)

    def give(self, task: Task, assignee: str, why: Reason) -> None:
        if task.assignee != assignee:
            self._tell(FollowupRescheduled, self._put(task.model_copy(update={"assignee": assignee})), why)

    def close(self, task: Task, state: TaskState, why: Reason) -> None:
        """The one end of a task. A regular contact that was missed or skipped stands where a contact would have."""
        change: dict[str, Any] = {"state": state, "closed_at": self.at, "closed_why": why}
        if state == "missed":
            change["assignee"] = self.rules.escalate_to
        ended = task.model_copy(update=change)
        self.open.remove(task)
        self.closed.append(ended)
        self._tell(_CLOSED[state], ended if state != "missed" else task, why)
        if state == "missed":
            self._tell(FollowupEscalated, ended, why)
        if task.basis is not None and why in STANDS_IN:
            self.learn("counted_from", {**self.know("counted_from"), task.playbook: task.due_at})

    def refuse(self, task_id: str, action: str, by: str | None, reason: Reason) -> None:
        customer = self.before.customer_id
        self.events.append(
            FollowupActionRefused(customer_id=customer, task_id=task_id, action=action, by=by, reason=reason)
        )

    def fire(self) -> list[Task]:
        """All that is due by now, in order of time; gives back what was missed."""
        missed = []
        while ripe := [task for task in self.open if task.next_at <= self.at]:
            task = min(ripe, key=_in_time)
            if task.state == "scheduled":
                self._tell(FollowupDue, self._put(task.model_copy(update={"state": "due"})), task.why)
            else:
                self.close(task, "missed", "deadline_passed")
                missed.append(task)
        return missed

    def opening(self, instant: Instant) -> Instant:
        return self.calendar.next_open(max(instant, self.at), self.know("timezone"))

    def deadline(self, playbook: Playbook, due_at: Instant) -> Instant:
        zone = self.know("timezone")
        if playbook.deadline.business_days is not None:
            return self.calendar.add_business_days(due_at, playbook.deadline.business_days, zone)
        minutes = playbook.deadline.business_minutes or 1
        return self.calendar.add_business_time(due_at, minutes * MINUTE, zone)

    def task_id(self, playbook: str) -> str:
        """The same for the same cause, whoever decides it again."""
        return str(uuid5(TASK_IDS, f"{self.before.customer_id}/{playbook}/{self.cause}"))

    def decision(self) -> Decision[Followups]:
        change = dict(self.facts)
        if self.closed:
            kept = (*reversed(self.closed), *self.before.closed)
            change["closed"] = kept[: self.rules.keep_closed]
        opened = tuple(self.open)
        if opened != self.before.open:
            change["open"] = opened
        state = self.before.model_copy(update=change) if change else self.before
        return Decision(state, tuple(self.events))

    def _put(self, task: Task) -> Task:
        self.open = [task if task.id == known.id else known for known in self.open]
        return task

    def _tell(self, event: Callable[..., OfTask], task: Task, why: Reason) -> None:
        self.events.append(
            event(
                customer_id=self.before.customer_id,
                task_id=task.id,
                playbook=task.playbook,
                reason=why,
                channel=task.channel,
                assignee=task.assignee,
                due_at=to_datetime(task.due_at),
                deadline_at=to_datetime(task.deadline_at),
                priority=task.priority,
                content_key=task.content_key,
            )
        )


def oldest(tasks: Sequence[Task]) -> Task | None:
    """Of those due at one instant, the one that matters most: never by id, which is chance."""
    return min(tasks, key=lambda task: (task.due_at, *_weight(task)), default=None)


def _in_time(task: Task) -> tuple[Instant, int, str]:
    return task.next_at, *_weight(task)


def _weight(task: Task) -> tuple[int, str]:
    """Tells the open tasks of a customer apart: of one playbook at most one is open."""
    return -task.priority, task.playbook
