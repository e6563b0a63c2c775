"""Segments in words: what a person reads of an answer about one customer."""

from deploy.explaining import composites_of, explained, reasons, shown

BECAUSE = {
    "values": {"spend_in_year": {"value": "5200", "threshold": "5000"}, "unconverted": {"value": {"JPY": "3"}}},
    "events": ["a", "b"],
    "expired": ["c"],
    "rule": "spend_level: high when spend_in_year >= 5000",
}


def test_a_dimension_says_since_when_why_and_what_comes_next_in_both_languages() -> None:
    membership = {
        "value": "high",
        "since": "2026-01-02T00:00:00.000Z",
        "note": {"en": "Net spend", "zh": "近一年净消费"},
        "because": BECAUSE,
        "next": {"at": "2026-12-01T00:00:00.000Z", "to": "medium"},
    }
    assert explained("spend_level", membership) == [
        "spend_level: high, since 2026-01-02T00:00:00.000Z",
        "    Net spend / 近一年净消费",
        "    spend_in_year 5200, threshold 5000",
        "    unconverted JPY 3",
        "    2 event(s) counted",
        "    1 event(s) left the window",
        "    rule: spend_level: high when spend_in_year >= 5000",
        "    next: medium on 2026-12-01T00:00:00.000Z, if nothing happens",
    ]


def test_what_time_alone_never_changes_says_so() -> None:
    lines = explained("region", {"value": "east", "since": None, "because": None, "next": None})
    assert lines == ["region: east", "    stays so for as long as nothing happens"]


def test_composites_read_like_a_dimension() -> None:
    upcoming = {"composites": {"at": "2026-12-01T00:00:00.000Z", "to": []}}
    answer = {"composites": ["vip"], "composites_since": "s", "composites_because": None, "upcoming": upcoming}
    assert (
        explained("composites", composites_of(answer))[-1]
        == "    next: none on 2026-12-01T00:00:00.000Z, if nothing happens"
    )


def test_lists_nothing_and_amounts_are_shown_plainly() -> None:
    assert [shown(value) for value in (["a", "b"], [], None, {"x": "1"}, 3)] == ["a, b", "none", "none", "x 1", "3"]
    assert list(reasons({})) == []
