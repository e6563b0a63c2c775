"""The business calendar: known days by hand, laws by property, and an oracle that walks minute by minute."""

from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calendar import BusinessCalendar, CalendarFile, Overrides, load_calendar
from shared.clock import DAY, HOUR, MINUTE, from_rfc3339, to_datetime, to_instant, to_rfc3339

CONFIG = Path(__file__).parents[2] / "deploy" / "config"
CALENDAR = load_calendar(CONFIG)
ZONES = (
    "Asia/Shanghai",
    "America/New_York",
    "Europe/London",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "America/Havana",
)
instants = st.integers(from_rfc3339("2005-01-01T00:00:00Z"), from_rfc3339("2030-12-31T00:00:00Z"))
zones = st.sampled_from(ZONES)
durations = st.integers(0, 200 * HOUR)


def at(text: str) -> int:
    return from_rfc3339(text + "+08:00")


@pytest.mark.parametrize(
    ("day", "open_"),
    [
        ("2026-11-23", True),  # a Monday
        ("2026-11-21", False),  # a Saturday
        ("2026-02-14", True),  # a make-up Saturday before the Spring Festival
        ("2026-02-20", False),  # a Friday given in exchange
        ("2026-10-01", False),  # the National Day
        ("2026-10-10", True),  # the make-up Saturday after it
        ("2001-12-29", True),  # announced with the next year's
        ("2027-10-01", False),
    ],
)
def test_holidays_and_make_up_workdays(day: str, open_: bool) -> None:
    assert CALENDAR.is_business_day(date.fromisoformat(day)) is open_


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("2026-11-23T08:59:59", "2026-11-23T09:00:00"),
        ("2026-11-23T09:00:00", "2026-11-23T09:00:00"),
        ("2026-11-23T17:59:59", "2026-11-23T17:59:59"),
        ("2026-11-23T18:00:00", "2026-11-24T09:00:00"),
        ("2026-11-20T18:30:00", "2026-11-23T09:00:00"),
        ("2026-09-30T18:00:00", "2026-10-08T09:00:00"),
        ("2026-12-31T18:00:00", "2027-01-04T09:00:00"),
    ],
)
def test_next_open(given_: str, expected: str) -> None:
    assert CALENDAR.next_open(at(given_)) == at(expected)


@pytest.mark.parametrize(
    ("given_", "hours", "expected"),
    [
        ("2026-11-20T16:30:00", 1, "2026-11-20T17:30:00"),
        ("2026-11-20T17:30:00", 1, "2026-11-23T09:30:00"),
        ("2026-11-20T17:00:00", 1, "2026-11-20T18:00:00"),  # the closing minute itself, not the next morning
        ("2026-11-21T12:00:00", 9, "2026-11-23T18:00:00"),
        ("2026-09-30T12:00:00", 8, "2026-10-08T11:00:00"),
        ("2026-12-31T17:00:00", 2, "2027-01-04T10:00:00"),
    ],
)
def test_business_hours(given_: str, hours: int, expected: str) -> None:
    assert CALENDAR.add_business_time(at(given_), hours * HOUR) == at(expected)


@pytest.mark.parametrize(
    ("given_", "days", "expected"),
    [
        ("2026-11-23T10:30:00", 3, "2026-11-26T10:30:00"),
        ("2026-11-20T20:00:00", 1, "2026-11-24T09:00:00"),  # counts from Monday's opening
        ("2026-09-30T17:30:00", 3, "2026-10-10T17:30:00"),  # over the holidays, onto a make-up Saturday
        ("2026-11-23T10:30:00", 0, "2026-11-23T10:30:00"),
        ("2026-12-30T10:00:00", 2, "2027-01-04T10:00:00"),
    ],
)
def test_business_days(given_: str, days: int, expected: str) -> None:
    assert CALENDAR.add_business_days(at(given_), days) == at(expected)


def test_each_zone_has_its_own_morning_and_an_unknown_zone_is_the_calendars_own() -> None:
    midnight = from_rfc3339("2026-11-23T00:00:00Z")
    assert to_rfc3339(CALENDAR.next_open(midnight, "Asia/Shanghai")) == "2026-11-23T01:00:00.000Z"
    assert to_rfc3339(CALENDAR.next_open(midnight, "America/New_York")) == "2026-11-23T14:00:00.000Z"
    assert CALENDAR.next_open(midnight, "Mars/Olympus") == CALENDAR.next_open(midnight, None)
    assert CALENDAR.next_open(midnight, "../../etc/passwd") == CALENDAR.next_open(midnight)


def test_nine_hours_stay_nine_hours_over_a_change_to_summer_time() -> None:
    friday = from_rfc3339("2026-03-06T18:00:00-05:00") - HOUR
    assert to_rfc3339(CALENDAR.add_business_time(friday, 2 * HOUR, "America/New_York")) == "2026-03-09T14:00:00.000Z"


def test_a_day_that_a_zone_skipped_is_no_business_day_there() -> None:
    samoa = "Pacific/Apia"  # went from Thursday 2011-12-29 to Saturday 2011-12-31, a make-up workday
    thursday_evening = from_rfc3339("2011-12-29T18:00:00-10:00")
    assert CALENDAR.next_open(thursday_evening, samoa) == from_rfc3339("2011-12-31T09:00:00+14:00")
    assert CALENDAR.business_time_between(thursday_evening - HOUR, thursday_evening + DAY, samoa) == 10 * HOUR


@given(instants, durations, zones)
def test_adding_and_then_measuring_gives_the_duration_back(start: int, duration: int, zone: str) -> None:
    assert CALENDAR.business_time_between(start, CALENDAR.add_business_time(start, duration, zone), zone) == duration


@given(instants, durations, zones)
def test_nothing_earlier_would_have_done(start: int, duration: int, zone: str) -> None:
    end = CALENDAR.add_business_time(start, duration, zone)
    assert duration == 0 or CALENDAR.business_time_between(start, end - 1, zone) == duration - 1


@given(instants, st.integers(0, 40 * DAY), durations, st.integers(0, 9 * HOUR), zones)
def test_later_or_longer_never_ends_earlier(start: int, delay: int, duration: int, more: int, zone: str) -> None:
    end = CALENDAR.add_business_time(start, duration, zone)
    assert CALENDAR.add_business_time(start + delay, duration, zone) >= end
    assert CALENDAR.add_business_time(start, duration + more, zone) >= end >= start


@given(instants, st.integers(0, 400 * DAY), st.integers(0, 400 * DAY), zones)
def test_time_between_adds_up_and_turns_round(start: int, one: int, two: int, zone: str) -> None:
    middle, end = start + one, start + one + two
    parts = CALENDAR.business_time_between(start, middle, zone) + CALENDAR.business_time_between(middle, end, zone)
    assert parts == CALENDAR.business_time_between(start, end, zone)
    assert CALENDAR.business_time_between(end, start, zone) == -parts


@given(instants, st.integers(0, 30), zones)
def test_business_days_follow_each_other(start: int, days: int, zone: str) -> None:
    end = CALENDAR.add_business_days(start, days, zone)
    assert CALENDAR.add_business_days(CALENDAR.add_business_days(start, 1, zone), days, zone) >= end
    assert end >= CALENDAR.next_open(start, zone)
    local = CALENDAR.local_day(CALENDAR.next_open(start, zone), zone)
    between = [local + timedelta(n) for n in range(1, (CALENDAR.local_day(end, zone) - local).days + 1)]
    assert sum(CALENDAR.is_business_day(day) for day in between) == days


@settings(max_examples=25, deadline=None)
@given(instants, st.integers(0, 4 * DAY), zones)
def test_equals_an_oracle_that_asks_every_minute(start: int, length: int, zone: str) -> None:
    start, end = start // MINUTE * MINUTE, (start + length) // MINUTE * MINUTE
    place = ZoneInfo(zone)

    def is_open(instant: int) -> bool:
        local = to_datetime(instant).astimezone(place)
        return CALENDAR.is_business_day(local.date()) and 9 <= local.hour < 18

    minutes = range(start, end, MINUTE)
    assert CALENDAR.business_time_between(start, end, zone) == MINUTE * sum(map(is_open, minutes))
    first = next((minute for minute in minutes if is_open(minute)), None)
    assert CALENDAR.next_open(start, zone) == first if first is not None else CALENDAR.next_open(start, zone) >= end


def test_overrides_win_over_the_library() -> None:
    monday, saturday = date(2026, 11, 23), date(2026, 11, 28)
    own = BusinessCalendar(CalendarFile(), Overrides(closed=frozenset({monday}), open=frozenset({saturday})))
    assert not own.is_business_day(monday)
    assert own.is_business_day(saturday)


def test_a_calendar_that_never_opens_says_so_instead_of_searching_for_ever() -> None:
    start = to_instant(datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
    closed = frozenset(date(2025, 1, 1) + timedelta(n) for n in range(20 * 366))
    never = BusinessCalendar(CalendarFile(), Overrides(closed=closed))
    for ask in (lambda: never.next_open(start), lambda: never.add_business_time(start, HOUR)):
        with pytest.raises(ValueError, match="no open time"):
            ask()
    with pytest.raises(ValueError, match="no open time"):
        never.add_business_days(start, 1)


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        CALENDAR.add_business_time(0, -1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('opens: "19:00"', "must be before closes"),
        ("time_zone: Mars/Olympus", "no IANA time zone"),
        ("country: XX", "ISO 3166"),
        ("closing: 18", "closing: Extra inputs"),
        ("weekdays: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_expected(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "calendars").mkdir()
    (tmp_path / "calendars" / "business.yaml").write_text(text)
    with pytest.raises(ValueError, match=complaint) as caught:
        load_calendar(tmp_path)
    assert "business.yaml" in str(caught.value)


def test_overrides_of_several_files_must_agree(tmp_path: Path) -> None:
    folder = tmp_path / "calendars" / "overrides"
    folder.mkdir(parents=True)
    (tmp_path / "calendars" / "business.yaml").write_text("country: CN")
    (folder / "a.yaml").write_text("closed: [2027-02-11]")
    (folder / "b.yaml").write_text("open: [2027-02-11]")
    with pytest.raises(ValueError, match=r"overrides.*both closed and open: 2027-02-11"):
        load_calendar(tmp_path)
