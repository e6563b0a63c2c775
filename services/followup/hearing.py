"""What each event says: facts to learn, what staff did, and what starts a promise."""

from datetime import datetime

from services.followup import actions
from services.followup.turn import STANDS_IN, Turn
from shared.clock import Instant, to_instant
from shared.events import customers as c
from shared.events.envelope import Data, Event
from shared.events.segments import SegmentsChanged

GRANTED = "granted"


def hear_facts(turn: Turn, event: Event, live: bool) -> None:
    """What is worth knowing, from history too. Only a live event hands open tasks over to a new owner or other hours."""
    match event.data:
        case SegmentsChanged() as changed:
            _learn_segments(turn, changed)
        case c.CustomerRegistered() as registered:
            _settle_in(turn, registered.facets.timezone, live)
            turn.learn("denied", _denied(registered))
            _own(turn, registered.owner, live)
        case c.CustomerCorrected() as corrected:
            _correct(turn, corrected, live)
        case c.CustomerAssigned() as assigned:
            _own(turn, assigned.owner, live)
        case c.CustomerConsentChanged() as changed:
            _consent(turn, changed.channel, changed.consent)
        case c.CustomerObjected() | c.CustomerObjectionWithdrawn() as said:
            turn.learn("objected", isinstance(said, c.CustomerObjected))
        case c.CustomerMerged() | c.CustomerSplit() as changed:
            if changed.from_id == turn.before.customer_id:
                turn.learn("merged", isinstance(changed, c.CustomerMerged))
        case data if _is_contact(data):
            _contacted(turn, min(event.occurred_at, turn.at))


def hear_staff(turn: Turn, event: Event) -> None:
    match event.data:
        case c.TaskActedOn() as action:
            if actions.act(turn, action):
                _contacted(turn, min(event.occurred_at, turn.at))
        case c.ContactMade() as contact:
            actions.complete_by_contact(turn, contact)
        case data if _reached_out(data):
            _end_needless(turn, min(event.occurred_at, turn.at))


def hear_starts(turn: Turn, event: Event) -> None:
    match event.data:
        case c.InquiryReceived():
            for name, playbook in turn.rules.starting_with("inquiry"):
                turn.promise(name, playbook, "inquiry", turn.at)
        case c.CallEnded() | c.VisitHeld() | c.ContactMade() as contact if contact.next_contact_at is not None:
            _agree(turn, contact.next_contact_at)


def _agree(turn: Turn, moment: datetime) -> None:
    """The newest word counts: an earlier agreement that is still open gives way."""
    instant = to_instant(moment)
    for name, playbook in turn.rules.starting_with("promise"):
        task = turn.task_of(name)
        reason = turn.blocked(playbook.channel, playbook.profiling)
        if reason := reason or ("until_too_far" if actions.too_far(turn, instant) else None):
            turn.refuse(turn.task_id(name), "promise", None, reason)
        elif task is not None and task.state == "scheduled":
            turn.move(task, instant, "promised_anew")
        else:
            if task is not None:
                turn.close(task, "cancelled", "promised_anew")
            turn.promise(name, playbook, "promise", instant)


def _end_needless(turn: Turn, contacted_at: Instant) -> None:
    for task in list(turn.open):
        playbook = turn.rules.playbooks.get(task.playbook)
        if playbook is not None and playbook.ended_by_contact and contacted_at >= task.made_at:
            turn.close(task, "cancelled", "contacted")


def _is_contact(data: Data) -> bool:
    answered = isinstance(data, c.CallEnded) and data.outcome == "answered"
    return answered or isinstance(data, c.ContactMade | c.VisitHeld)


def _reached_out(data: Data) -> bool:
    """We spoke with the customer of our own accord; a call of theirs may be the very inquiry that waits for us."""
    called = isinstance(data, c.CallEnded) and data.outcome == "answered" and data.direction == "outbound"
    return called or isinstance(data, c.VisitHeld)


def _contacted(turn: Turn, instant: Instant) -> None:
    known = turn.know("last_contact_at")
    if known is None or instant > known:
        turn.learn("last_contact_at", instant)
        _count_from_contact(turn, instant)


def _count_from_contact(turn: Turn, contacted_at: Instant) -> None:
    """What stood for a contact is over with a real one, unless it was missed or skipped only after that."""
    ended = {task.playbook: task.closed_at for task in reversed(turn.before.closed) if task.closed_why in STANDS_IN}
    counted = turn.know("counted_from")
    turn.learn("counted_from", {name: at for name, at in counted.items() if (ended.get(name) or 0) > contacted_at})


def _learn_segments(turn: Turn, changed: SegmentsChanged) -> None:
    wanted = {name: changed.memberships.get(name) for name in sorted(turn.rules.dimensions)}
    turn.learn("segments", {name: value for name, value in wanted.items() if isinstance(value, str)})


def _denied(registered: c.CustomerRegistered) -> tuple[str, ...]:
    return tuple(sorted(channel for channel, consent in registered.consents.items() if consent != GRANTED))


def _correct(turn: Turn, corrected: c.CustomerCorrected, live: bool) -> None:
    changes = corrected.changes
    for field, change in changes.items():
        if field.startswith("consents."):
            _consent(turn, field.removeprefix("consents."), change.to)
    if "timezone" in changes:
        _settle_in(turn, _text(changes["timezone"].to), live)
    if "owner" in changes:
        _own(turn, _text(changes["owner"].to), live)


def _consent(turn: Turn, channel: str, consent: object) -> None:
    """None: nothing is said of the channel any more, as before anything was."""
    others = set(turn.know("denied")) - {channel}
    turn.learn("denied", tuple(sorted(others if consent in (GRANTED, None) else others | {channel})))


def _settle_in(turn: Turn, zone: str | None, live: bool) -> None:
    """What is promised is kept in the hours of the customer's new time zone."""
    before = turn.know("timezone")
    turn.learn("timezone", zone)
    if live and zone != before:
        for task in list(turn.open):
            if task.state == "scheduled" or turn.opening(turn.at) != turn.at:
                turn.move(task, task.due_at, "time_zone")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _own(turn: Turn, owner: str | None, live: bool) -> None:
    before = turn.assignee
    turn.learn("owner", owner)
    if live:
        for task in list(turn.open):
            if task.assignee == before:
                turn.give(task, turn.assignee, "assigned")
