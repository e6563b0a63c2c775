"""What staff do to tasks, and what is answered where it cannot be."""

from services.followup.reasons import Reason
from services.followup.state import Task
from services.followup.turn import Turn, oldest
from shared.clock import DAY, Instant, to_instant
from shared.events.customers import ContactMade, TaskActedOn

_CLOSED: dict[str, Reason] = {
    "completed": "already_completed",
    "missed": "already_missed",
    "cancelled": "already_cancelled",
}


def act(turn: Turn, action: TaskActedOn) -> bool:
    """Gives back whether the action says that the customer was contacted."""
    task = _find(turn, action.task_id)
    refusal = _closed(turn, action.task_id) if task is None else _refusal(turn, action)
    if task is None or refusal is not None:
        turn.refuse(action.task_id, action.action, action.by, refusal or "unknown_task")
        return False
    _apply(turn, task, action)
    return action.action == "complete"


def complete_by_contact(turn: Turn, contact: ContactMade) -> None:
    """The task that it names; else the oldest due one, if any. The contact itself counts in any case."""
    if contact.task_id is None:
        task = oldest([task for task in turn.open if task.state == "due"])
    elif (task := _find(turn, contact.task_id)) is None:
        turn.refuse(contact.task_id, "complete", contact.by, _closed(turn, contact.task_id))
    if task is not None:
        turn.close(task, "completed", "contact_made")


def too_far(turn: Turn, instant: Instant) -> bool:
    return instant > turn.at + turn.rules.horizon_days * DAY


def _apply(turn: Turn, task: Task, action: TaskActedOn) -> None:
    match action.action:
        case "complete":
            turn.close(task, "completed", "completed")
        case "skip":
            turn.close(task, "cancelled", "skipped")
        case "reschedule" if action.until is not None:
            turn.move(task, to_instant(action.until), "rescheduled")
        case "claim":
            turn.give(task, action.by, "claimed")
        case "assign" if action.to:
            turn.give(task, action.to, "assigned")


def _refusal(turn: Turn, action: TaskActedOn) -> Reason | None:
    if action.action == "assign" and not action.to:
        return "to_missing"
    if action.action != "reschedule":
        return None
    if action.until is None:
        return "until_missing"
    until = to_instant(action.until)
    if until <= turn.at:
        return "until_past"
    return "until_too_far" if too_far(turn, until) else None


def _find(turn: Turn, task_id: str) -> Task | None:
    return next((task for task in turn.open if task.id == task_id), None)


def _closed(turn: Turn, task_id: str) -> Reason:
    """What became of a task that is not open, as far as that is still known."""
    known = (task for task in (*turn.closed, *turn.before.closed) if task.id == task_id)
    task = next(known, None)
    return _CLOSED[task.state] if task else "unknown_task"
