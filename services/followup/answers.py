"""Follow-ups as they are shown over HTTP: instants as RFC 3339, codes with their texts in both languages."""

from pydantic import BaseModel

from services.followup.reasons import Reason
from services.followup.rules import Playbook, Rules
from services.followup.state import Followups, Task, TaskState
from services.followup.store import Found
from shared.clock import Instant, to_rfc3339
from shared.config_files import Label


class Fresh(BaseModel):
    """How fresh the answer is: the log's time that was applied, and how far behind the log that is."""

    as_of: str | None
    behind_seconds: float | None


class ReasonShown(Label):
    code: Reason


class TaskShown(BaseModel):
    """`section`: on worklists, the part of the list: escalated, due, or the day on which it falls due."""

    task_id: str
    customer_id: str
    state: TaskState
    section: str | None
    playbook: str
    label: Label | None
    reason: ReasonShown
    assignee: str
    channel: str
    priority: int
    made_at: str
    due_at: str
    deadline_at: str
    closed_at: str | None
    closed_reason: ReasonShown | None
    content_key: str
    content: Label | None


class CustomerFollowups(Fresh):
    """Open tasks, then the newest closed ones."""

    customer_id: str
    last_contact_at: str | None
    followups: list[TaskShown]


class FollowupPage(Fresh):
    followups: list[TaskShown]
    next_cursor: str | None


class Counts(Fresh):
    """Customers who have a task in each state; closed ones as far as they are kept."""

    customers: dict[TaskState, int]


class Load(BaseModel):
    """Open tasks of one section (`due`, or a day), altogether and by playbook."""

    section: str
    total: int
    playbooks: dict[str, int]


class Forecast(Fresh):
    due: Load
    days: list[Load]


class Playbooks(Fresh):
    version: str
    default_assignee: str
    escalate_to: str
    playbooks: dict[str, Playbook]
    contents: dict[str, Label]
    states: dict[str, Label]
    sections: dict[str, Label]
    reasons: dict[str, Label]


class Shown:
    """Tasks with the texts of the playbooks' file."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def of_customer(self, state: Followups) -> list[TaskShown]:
        return [self.task(Found(state.customer_id, task)) for task in (*state.open, *state.closed)]

    def task(self, found: Found) -> TaskShown:
        task = found.task
        playbook = self._rules.playbooks.get(task.playbook)
        return TaskShown(
            task_id=task.id,
            customer_id=found.customer_id,
            state=task.state,
            section=found.section,
            playbook=task.playbook,
            label=playbook.label if playbook else None,
            reason=self._reason(task.why),
            assignee=task.assignee,
            channel=task.channel,
            priority=task.priority,
            made_at=to_rfc3339(task.made_at),
            due_at=to_rfc3339(task.due_at),
            deadline_at=to_rfc3339(task.deadline_at),
            closed_at=written(task.closed_at),
            closed_reason=self._closed_reason(task),
            content_key=task.content_key,
            content=self._rules.contents.get(task.content_key),
        )

    def _reason(self, code: Reason) -> ReasonShown:
        label = self._rules.reasons[code]
        return ReasonShown(code=code, en=label.en, zh=label.zh)

    def _closed_reason(self, task: Task) -> ReasonShown | None:
        return None if task.closed_why is None else self._reason(task.closed_why)


def written(instant: Instant | None) -> str | None:
    return None if instant is None else to_rfc3339(instant)
