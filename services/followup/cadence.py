"""Which promises still have their reason, and when the regular contacts fall."""

from services.followup.reasons import Reason
from services.followup.rules import Playbook
from services.followup.state import Task
from services.followup.turn import Turn
from shared.clock import DAY, Instant


def reconcile(turn: Turn) -> None:
    """Cancels what has lost its reason, then makes or moves the regular contacts so that they fit the facts."""
    withdraw(turn)
    for name, playbook in turn.rules.starting_with("segment"):
        _keep(turn, name, playbook)


def withdraw(turn: Turn) -> None:
    """What must not be is cancelled, whoever tells of it and however late."""
    for task in list(turn.open):
        playbook = turn.rules.playbooks.get(task.playbook)
        if reason := turn.blocked(task.channel, bool(playbook and playbook.profiling)):
            turn.close(task, "cancelled", reason)


def _keep(turn: Turn, name: str, playbook: Playbook) -> None:
    days = playbook.every_days.get(turn.know("segments").get(playbook.dimension, ""))
    task = turn.task_of(name)
    if days is None:
        _end(turn, name, task)
        return
    basis = _basis(turn, name)
    due_at = basis + days * DAY
    if task is None:
        turn.promise(name, playbook, "cadence", due_at, basis=basis, every_days=days)
    elif task.state == "scheduled":
        _refit(turn, task, basis, days)
    elif task.basis is None or basis > task.basis:
        # It is due once: what comes after the contact is a task of its own.
        turn.close(task, "cancelled", "contacted")
        turn.promise(name, playbook, "cadence", due_at, basis=basis, every_days=days)


def _refit(turn: Turn, task: Task, basis: Instant, days: int) -> None:
    """Only where the reckoning changed: a date that staff chose stands until the next contact or another frequency."""
    if (task.basis, task.every_days) != (basis, days):
        why: Reason = "segment_changed" if task.basis == basis else "contacted"
        turn.move(task, basis + days * DAY, why, basis=basis, every_days=days)


def _end(turn: Turn, name: str, task: Task | None) -> None:
    if task is not None:
        turn.close(task, "cancelled", "segment_ended")
    counted = turn.know("counted_from")
    if name in counted:
        turn.learn("counted_from", {key: value for key, value in counted.items() if key != name})


def _basis(turn: Turn, name: str) -> Instant:
    """The last contact, or what stands for it; with neither, the present, which is then remembered."""
    counted: dict[str, Instant] = turn.know("counted_from")
    known: list[Instant] = [
        instant for instant in (turn.know("last_contact_at"), counted.get(name)) if instant is not None
    ]
    if known:
        return max(known)
    turn.learn("counted_from", {**counted, name: turn.at})
    return turn.at
