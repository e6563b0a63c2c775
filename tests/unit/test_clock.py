"""Instants: exact to the millisecond, sortable as text, never without an offset."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import DAY, from_rfc3339, to_datetime, to_instant, to_rfc3339, wall_clock

instants = st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999)
"""From the year 1 to the year 9999."""


@given(instants)
def test_text_and_datetime_give_the_instant_back(instant: int) -> None:
    assert from_rfc3339(to_rfc3339(instant)) == instant
    assert to_instant(to_datetime(instant)) == instant


@given(instants, instants)
def test_texts_sort_as_instants_do(one: int, other: int) -> None:
    assert (to_rfc3339(one) < to_rfc3339(other)) == (one < other)


def test_an_offset_is_honoured_and_required() -> None:
    assert from_rfc3339("2026-11-23T08:00:00+08:00") == from_rfc3339("2026-11-23T00:00:00Z")
    with pytest.raises(ValueError, match="offset"):
        from_rfc3339("2026-11-23T08:00:00")
    with pytest.raises(TypeError):
        to_instant(datetime(2026, 11, 23))  # noqa: DTZ001 - the naive one is the point


def test_below_the_millisecond_is_cut_towards_the_past() -> None:
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC)
    assert to_instant(moment) == -1
    assert to_instant(moment + timedelta(microseconds=600)) == 0


def test_a_day_is_86400_seconds_also_where_the_clocks_change() -> None:
    berlin_summer, berlin_winter = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    before = datetime(2026, 10, 24, 12, tzinfo=berlin_summer)
    after = datetime(2026, 10, 25, 11, tzinfo=berlin_winter)
    assert to_instant(after) - to_instant(before) == DAY


def test_the_wall_clock_counts_milliseconds() -> None:
    assert abs(wall_clock() - datetime.now(UTC).timestamp() * 1000) < 5_000
