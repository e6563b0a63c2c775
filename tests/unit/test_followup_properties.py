"""Follow-up over random stories: the laws of a task, and the regular contact against an oracle written another way."""

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.clock import DAY, HOUR, MINUTE, Instant, to_datetime
from shared.events import customers as c
from shared.events import followups as f
from tests.unit.followup_story import CUSTOMER, DOMAIN, OTHER, Story, at, check_told, frequency

START = at("09-25 10:00")
FREQUENCIES = ("high", "medium", "low", "none", None)
CALENDAR = DOMAIN.calendar

delays = st.one_of(st.integers(0, 3 * HOUR), st.integers(0, 6 * DAY), st.sampled_from([0, 1, HOUR, DAY, 7 * DAY]))
instants = st.integers(-2 * DAY, 40 * DAY)
tasks = st.integers(0, 3)


def _event(story: Story, kind: str, number: int, offset: int) -> c.OfCustomer:
    """One thing that can happen, its details taken from two numbers."""
    later = to_datetime(story.now + offset) if offset % 3 else None
    match kind:
        case "frequency":
            return frequency(FREQUENCIES[number % 5])
        case "inquiry":
            return c.InquiryReceived(customer_id=CUSTOMER)
        case "call":
            direction, outcome = ("inbound", "outbound")[offset % 2], ("answered", "no_answer")[number % 2]
            return c.CallEnded(customer_id=CUSTOMER, direction=direction, outcome=outcome, next_contact_at=later)
        case "visit":
            return c.VisitHeld(customer_id=CUSTOMER, next_contact_at=later)
        case "contact" | "act":
            return _of_staff(story, kind, number, offset)
        case _:
            return _fact(kind, number)


def _of_staff(story: Story, kind: str, number: int, offset: int) -> c.OfCustomer:
    known = [task.id for task in (*story.state.open, *story.state.closed)]
    task_id = known[number % len(known)] if known and number else None
    later = to_datetime(story.now + offset) if offset % 3 else None
    if kind == "contact":
        return c.ContactMade(customer_id=CUSTOMER, by="li", task_id=task_id, next_contact_at=later)
    action = ("complete", "reschedule", "skip", "claim", "assign")[offset % 5]
    to = None if number > 2 else "he"
    return c.TaskActedOn(customer_id=CUSTOMER, task_id=task_id or "none", action=action, by="wu", until=later, to=to)


def _fact(kind: str, number: int) -> c.OfCustomer:
    mine = {"customer_id": CUSTOMER}
    match kind:
        case "consent":
            return c.CustomerConsentChanged(**mine, channel="phone", consent=("granted", "denied")[number % 2])
        case "object":
            return (c.CustomerObjected if number % 2 else c.CustomerObjectionWithdrawn)(**mine)
        case "merge":
            return (c.CustomerMerged if number % 2 else c.CustomerSplit)(**mine, into=OTHER, from_id=CUSTOMER)
        case "zone":
            zone = ("America/New_York", "Asia/Shanghai", "nowhere", "Pacific/Auckland")[number]
            return c.CustomerCorrected(**mine, changes={"timezone": c.FieldChange(to=zone)})
        case _:
            return c.CustomerAssigned(**mine, owner=("li", None, "zhang")[number % 3])


OFTEN = ("frequency", "inquiry", "contact", "call", "act")
kinds = st.sampled_from((*OFTEN, *OFTEN, "contact", "visit", "consent", "object", "merge", "zone", "assign"))
steps = st.lists(st.tuples(delays, kinds, tasks, instants, st.sampled_from([False] * 6 + [True])), max_size=25)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_every_story_keeps_the_laws_of_a_task(told: list[tuple[int, str, int, int, bool]]) -> None:
    story, now = Story(), START
    for delay, kind, number, offset, history in told:
        now += delay
        story.until(now)
        story.send(now, _event(story, kind, number, offset), history=history)
        check_told(story.told)
    story.until(now + 40 * DAY)
    story.send(now + 40 * DAY, c.CustomerErased(customer_id=CUSTOMER, receipt_id="r"))
    check_told(story.told)
    begun = [data.task_id for _, data in story.told if isinstance(data, f.FollowupScheduled)]
    ended = [
        data.task_id
        for _, data in story.told
        if isinstance(data, f.FollowupCompleted | f.FollowupMissed | f.FollowupCancelled)
    ]
    assert sorted(begun) == sorted(ended), "after the end of all, every task has ended exactly once"
    assert len(begun) == len(set(begun))


@settings(max_examples=60, deadline=None)
@given(steps, st.lists(st.integers(0, 9 * DAY), max_size=20))
def test_how_often_it_is_asked_for_timers_changes_nothing(
    told: list[tuple[int, str, int, int, bool]], pauses: list[int]
) -> None:
    """A worker that looks every moment and one that looks only when an event comes tell the same story."""
    stories = []
    for cuts in ([], pauses):
        story, now = Story(), START
        for number, (delay, kind, choice, offset, history) in enumerate(told):
            if number < len(cuts):
                story.until(min(now + cuts[number], now + delay))
            now += delay
            story.until(now)
            story.send(now, _event(story, kind, choice, offset), history=history)
        story.until(now + 30 * DAY)
        stories.append((story.told, story.state))
    assert stories[0] == stories[1]


@settings(max_examples=100, deadline=None)
@given(steps, st.uuids())
def test_who_the_customer_is_changes_nothing(told: list[tuple[int, str, int, int, bool]], other: UUID) -> None:
    """Ids are chance: the same story of another customer has the same tasks, in the same order."""
    stories = []
    for customer in (CUSTOMER, str(other)):
        story, now = Story(state=DOMAIN.initial(customer)), START
        for delay, kind, number, offset, history in told:
            now += delay
            event = _event(story, kind, number, offset)
            story.send(now, event.model_copy(update={"from_id": customer} if kind == "merge" else {}), history=history)
        story.until(now + 30 * DAY)
        stories.append([(when, data.model_dump(exclude={"customer_id", "task_id"})) for when, data in story.told])
    assert stories[0] == stories[1]


# The regular contact, by an oracle that knows no tasks: it walks from instant to instant over the whole history.

Fact = tuple[Instant, str, str]


def oracle(facts: list[Fact], end: Instant) -> list[tuple[Instant, str]]:
    """(instant, due or missed) of every regular contact, from `contact` and `segment` facts in order of time."""
    intervals = {"high": 7 * DAY, "medium": 30 * DAY, "low": 90 * DAY}
    found: list[tuple[Instant, str]] = []
    interval: int | None = None
    base: Instant | None = None
    last: Instant | None = None
    due_since: Instant | None = None
    for index, (when, kind, value) in enumerate(facts):
        if kind == "contact":
            last, base, due_since = when, max(base or when, when), None
        elif intervals.get(value) is None:
            interval, base, due_since = None, None, None
        else:
            base = base if base is not None else (last if last is not None else when)
            interval = intervals[value]
        until = facts[index + 1][0] if index + 1 < len(facts) else end + 1
        now = when
        while interval is not None and base is not None:
            if due_since is None:
                due = CALENDAR.next_open(max(now, base + interval))
                if due >= until and due != when:
                    break
                found.append((due, "due"))
                due_since = now = due
            late = CALENDAR.add_business_days(due_since, 3)
            if late > until or (late == until and until == end + 1):
                break
            found.append((late, "missed"))
            base, due_since, now = max(base, due_since), None, late
    return [(when, what) for when, what in found if when <= end]


facts = st.lists(
    st.tuples(
        st.integers(1, 25 * DAY // MINUTE),
        st.sampled_from(["contact", "segment"]),
        st.sampled_from(["high", "high", "medium", "low", "none", "none"]),
    ),
    min_size=2,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(facts)
def test_regular_contacts_fall_where_the_oracle_says(gaps: list[tuple[int, str, str]]) -> None:
    history: list[Fact] = []
    now = START + 1
    for gap, kind, value in gaps:
        now += gap * MINUTE + 7  # never on a minute, so that no fact falls on the very instant of a timer
        history.append((now, kind, value))
    story = Story()
    for when, kind, value in history:
        call = c.CallEnded(customer_id=CUSTOMER, direction="inbound", outcome="answered")
        story.send(when, call if kind == "contact" else frequency(value))
    end = now + 100 * DAY
    story.until(end)
    names = {f.FollowupDue: "due", f.FollowupMissed: "missed"}
    told = [(when, names[type(data)]) for when, data in story.told if type(data) in names]
    assert told == oracle(history, end)
