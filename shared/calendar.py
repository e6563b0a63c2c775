"""The business calendar: which instants are open for work in a customer's time zone, and how far apart they are."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import holidays
from pydantic import Field, StringConstraints, ValidationError, model_validator

from shared.clock import Instant, to_datetime, to_instant
from shared.config_files import ConfigError, Part, load

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]

WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
TABLES_KEPT = 512
"""Tables of one zone's year that are kept (some 25 kB each); the least recently used goes first."""
YEARS_SEARCHED = 3
"""So long the calendar may be closed without a break; a longer closure is a mistake in its files."""


class CalendarFile(Part):
    country: str = "CN"
    time_zone: str = "Asia/Shanghai"
    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1)] = WEEKDAYS[:5]
    opens: TimeOfDay = "09:00"
    closes: TimeOfDay = "18:00"

    @model_validator(mode="after")
    def _check(self) -> "CalendarFile":
        if self.opens >= self.closes:
            raise ValueError(f"opens ({self.opens}) must be before closes ({self.closes})")
        if self.time_zone not in available_timezones():
            raise ValueError(f"time_zone {self.time_zone!r} is no IANA time zone (for example Asia/Shanghai)")
        if self.country not in holidays.list_supported_countries():
            raise ValueError(f"country {self.country!r} is no ISO 3166 code that the library `holidays` knows")
        return self


class Overrides(Part):
    """Days that win over the library: `closed` however it opens them, `open` however it closes them."""

    closed: frozenset[date] = frozenset()
    open: frozenset[date] = frozenset()

    @model_validator(mode="after")
    def _check(self) -> "Overrides":
        if both := self.closed & self.open:
            raise ValueError(f"both closed and open: {', '.join(map(str, sorted(both)))}")
        return self


@dataclass(frozen=True, slots=True)
class _Year:
    """The open intervals of one zone's local year, ascending. `before`: open milliseconds of the year before each."""

    opens: tuple[Instant, ...]
    closes: tuple[Instant, ...]
    before: tuple[int, ...]
    total: int

    def worked(self, instant: Instant) -> int:
        """Open milliseconds of this year up to `instant`."""
        index = bisect_right(self.closes, instant)
        if index == len(self.closes):
            return self.total
        return self.before[index] + max(0, instant - self.opens[index])

    def reached(self, worked: int) -> Instant:
        """The first instant at which `worked` (0 < worked <= total) open milliseconds of this year have passed."""
        index = bisect_right(self.before, worked - 1) - 1
        return self.opens[index] + worked - self.before[index]


class BusinessCalendar:
    """Pure arithmetic over instants. Open intervals are half-open: at closing time it is closed.

    Safe across changes of a zone's offset: an interval is as long as it really lasts, and a local day that a zone
    skipped does not count. A zone that nobody knows is read as the calendar's own.
    """

    def __init__(self, settings: CalendarFile, overrides: Overrides | None = None) -> None:
        self._settings = settings
        self._overrides = overrides or Overrides()
        self._weekdays = frozenset(WEEKDAYS.index(day) for day in settings.weekdays)
        self._opens, self._closes = time.fromisoformat(settings.opens), time.fromisoformat(settings.closes)
        self._zones = available_timezones()
        self._zone = lru_cache(maxsize=1024)(self._find_zone)
        self._days = lru_cache(maxsize=128)(self._business_days)
        self._table = lru_cache(maxsize=TABLES_KEPT)(self._build_table)

    @property
    def default_zone(self) -> str:
        return self._settings.time_zone

    def local_day(self, instant: Instant, zone: str | None = None) -> date:
        return to_datetime(instant).astimezone(self._zone(zone)).date()

    def is_business_day(self, day: date) -> bool:
        return day in self._days(day.year)[1]

    def next_open(self, instant: Instant, zone: str | None = None) -> Instant:
        """The instant itself where it is open, else when it next opens."""
        for table in self._tables_from(instant, zone):
            index = bisect_right(table.closes, instant)
            if index < len(table.closes):
                return max(instant, table.opens[index])
        raise _always_closed(instant)

    def add_business_time(self, instant: Instant, duration: int, zone: str | None = None) -> Instant:
        """The first instant by which `duration` open milliseconds have passed; it may be a closing time.

        ValueError for a negative duration, and where it is further away than the calendar can reckon.
        """
        if duration < 0:
            raise ValueError(f"a duration of {duration} ms is negative")
        if duration == 0:
            return instant
        for table in self._tables_from(instant, zone, reach=None):
            worked = table.worked(instant)
            if worked + duration <= table.total:
                return table.reached(worked + duration)
            duration -= table.total - worked
        raise _always_closed(instant)

    def business_time_between(self, start: Instant, end: Instant, zone: str | None = None) -> int:
        """Open milliseconds between; negative where `end` is before `start`."""
        if end < start:
            return -self.business_time_between(end, start, zone)
        first = self.local_day(start, zone).year
        last = self.local_day(end, zone).year
        whole = sum(self._table(zone, year).total for year in range(first, last))
        return whole + self._table(zone, last).worked(end) - self._table(zone, first).worked(start)

    def add_business_days(self, instant: Instant, days: int, zone: str | None = None) -> Instant:
        """The same local time of day, `days` (>= 0) business days later, counted from the next open instant."""
        start = self.next_open(instant, zone)
        local = to_datetime(start).astimezone(self._zone(zone))
        day = self._business_day_after(local.date(), days)
        return max(start, _instant_of(day, local.time(), self._zone(zone)))

    def _business_day_after(self, day: date, count: int) -> date:
        days, index = self._days(day.year)[0], 0
        index = bisect_right(days, day) - 1 + count
        for year in range(day.year + 1, day.year + 2 + YEARS_SEARCHED + count // 50):
            if index < len(days):
                return days[index]
            index -= len(days)
            days = self._days(year)[0]
        raise _always_closed(_instant_of(day, self._opens, UTC))

    def _tables_from(self, instant: Instant, zone: str | None, reach: int | None = YEARS_SEARCHED) -> Iterator[_Year]:
        """Tables of the instant's local year and those after it, at most `reach` more; None: while time can be written."""
        year = self.local_day(instant, zone).year
        idle = 0
        last = 9_998 if reach is None else min(9_998, year + reach)
        while year <= last and idle <= YEARS_SEARCHED:
            table = self._table(zone, year)
            yield table
            idle = 0 if table.total else idle + 1
            year += 1

    def _find_zone(self, name: str | None) -> ZoneInfo:
        return ZoneInfo(name if name in self._zones else self._settings.time_zone)

    def _business_days(self, year: int) -> tuple[tuple[date, ...], frozenset[date]]:
        known = holidays.country_holidays(self._settings.country, years=year, expand=False)
        exchanged = known.weekend_workdays
        first = date(year, 1, 1)
        count = (date(year, 12, 31) - first).days + 1
        found = tuple(
            day for day in (first + timedelta(n) for n in range(count)) if self._is_open(day, known, exchanged)
        )
        return found, frozenset(found)

    def _is_open(self, day: date, known: Any, exchanged: set[date]) -> bool:
        if day in self._overrides.open or day in self._overrides.closed:
            return day in self._overrides.open
        return day in exchanged or (day.weekday() in self._weekdays and day not in known)

    def _build_table(self, zone: str | None, year: int) -> _Year:
        place = self._zone(zone)
        opens: list[Instant] = []
        closes: list[Instant] = []
        for day in self._days(year)[0]:
            start, end = _instant_of(day, self._opens, place), _instant_of(day, self._closes, place)
            if to_datetime(start).astimezone(place).date() == day and end > start:
                opens.append(start)
                closes.append(end)
        worked = list(accumulate((end - start for start, end in zip(opens, closes, strict=True)), initial=0))
        return _Year(tuple(opens), tuple(closes), tuple(worked[:-1]), worked[-1])


def load_calendar(config_dir: Path) -> BusinessCalendar:
    """From `calendars/business.yaml` and `calendars/overrides/*.yaml`; raises ConfigError."""
    folder = config_dir / "calendars"
    settings = load(folder / "business.yaml", CalendarFile)
    read = [load(path, Overrides) for path in sorted((folder / "overrides").glob("*.yaml"))]
    closed = frozenset[date]().union(*(one.closed for one in read))
    opened = frozenset[date]().union(*(one.open for one in read))
    try:
        return BusinessCalendar(settings, Overrides(closed=closed, open=opened))
    except ValidationError as error:
        raise ConfigError(f"{folder / 'overrides'}: {error.errors()[0]['msg']}") from error


def _instant_of(day: date, time_of_day: time, zone: Any) -> Instant:
    return to_instant(datetime.combine(day, time_of_day, zone))


def _always_closed(instant: Instant) -> ValueError:
    return ValueError(f"the business calendar has no open time within reach of {instant}")
