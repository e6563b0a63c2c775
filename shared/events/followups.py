"""What follow-up publishes on `guanxi.followups.v1`."""

from typing import ClassVar

from shared.events.customers import OfCustomer
from shared.events.fields import Channel, UtcDateTime


class OfTask(OfCustomer):
    """One promised contact. `content_key` names the text to use, in the language of whoever reads it."""

    task_id: str
    playbook: str
    reason: str | None = None
    channel: Channel | None = None
    assignee: str | None = None
    due_at: UtcDateTime | None = None
    deadline_at: UtcDateTime | None = None
    priority: int = 0
    content_key: str | None = None


class FollowupScheduled(OfTask):
    event_type: ClassVar[str] = "guanxi.followup.scheduled.v1"


class FollowupRescheduled(OfTask):
    event_type: ClassVar[str] = "guanxi.followup.rescheduled.v1"


class FollowupDue(OfTask):
    event_type: ClassVar[str] = "guanxi.followup.due.v1"


class FollowupCompleted(OfTask):
    event_type: ClassVar[str] = "guanxi.followup.completed.v1"


class FollowupMissed(OfTask):
    event_type: ClassVar[str] = "guanxi.followup.missed.v1"


class FollowupEscalated(OfTask):
    event_type: ClassVar[str] = "guanxi.followup.escalated.v1"


class FollowupCancelled(OfTask):
    event_type: ClassVar[str] = "guanxi.followup.cancelled.v1"


class FollowupActionRefused(OfCustomer):
    event_type: ClassVar[str] = "guanxi.followup.action_refused.v1"
    task_id: str
    action: str
    by: str | None = None
    reason: str
