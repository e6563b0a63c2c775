"""Files become events, row by row; ticks become due; day ends are counted."""

from pathlib import Path

import pytest

from services.intake.imports import _day_ends
from services.intake.mapping import MappingError, digest_of, load_mapping, rows_of, unsorted_lines
from services.intake.rules import RulesError, load_rules
from services.intake.ticks import APART, Wanted
from shared.clock import DAY, HOUR, MINUTE, from_rfc3339

CDNOW = Path(__file__).parents[2] / "deploy" / "config" / "imports" / "cdnow.yaml"
HEAD = "customer_id,purchased_on,quantity,amount\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_purchase_row_becomes_a_purchase_at_noon(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", HEAD + "0001,1997-01-01,2,29.33\n")
    (row,) = rows_of(file, load_mapping(CDNOW), "d")
    assert row.line == 2
    assert row.document == {
        "id": "d:2",
        "source": "urn:guanxi:import:cdnow",
        "type": "purchase.made",
        "time": "1997-01-01T12:00:00.000Z",
        "customer": {"external_id": {"system": "cdnow", "id": "0001"}},
        "data": {
            "amount": {"amount": "29.33", "currency": "USD"},
            "items": [{"category": "music", "quantity": "2"}],
        },
    }


def test_equal_rows_stay_apart_and_the_same_file_gives_the_same_ids(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", HEAD + "0001,1997-01-01,2,29.33\n" * 2)
    ids = [row.document["id"] for row in rows_of(file, load_mapping(CDNOW), digest_of(file)) if row.document]
    assert len(set(ids)) == 2
    assert ids == [r.document["id"] for r in rows_of(file, load_mapping(CDNOW), digest_of(file)) if r.document]


def test_key_columns_name_a_row_wherever_it_stands(tmp_path: Path) -> None:
    mapping = load_mapping(CDNOW).model_copy(update={"key": ("customer_id", "purchased_on")})
    first = written(tmp_path / "a.csv", HEAD + "1,1997-01-01,2,29.33\n2,1997-01-01,1,1\n")
    second = written(tmp_path / "b.csv", HEAD + "2,1997-01-01,1,1\n")
    ids = {row.document["id"] for row in rows_of(first, mapping, "x") if row.document}
    assert {row.document["id"] for row in rows_of(second, mapping, "y") if row.document} < ids


def test_rows_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", HEAD + "0001,someday,2,29.33\n0001,1997-01-01,2,1\n")
    bad, good = rows_of(file, load_mapping(CDNOW), "d")
    assert bad.error is not None
    assert (bad.line, bad.error.field) == (2, "time")
    assert good.document is not None


def test_lines_out_of_order_are_named(tmp_path: Path) -> None:
    days = ("1997-01-02", "1997-01-01", "1997-01-02", "1996-12-31", "1997-01-03")
    file = written(tmp_path / "a.csv", HEAD + "".join(f"1,{day},1,1\n" for day in days))
    assert unsorted_lines(rows_of(file, load_mapping(CDNOW), "d")) == [3, 5]


def test_a_column_that_the_file_has_not_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", "customer_id,amount\n1,2\n")
    with pytest.raises(MappingError, match="purchased_on, quantity"):
        list(rows_of(file, load_mapping(CDNOW), "d"))


@pytest.mark.parametrize("text", ["format: xml", "format: [", "time: {column: a, zone: Mars}"])
def test_a_wrong_mapping_names_its_file(tmp_path: Path, text: str) -> None:
    file = written(tmp_path / "m.yaml", text)
    with pytest.raises(MappingError, match=r"m\.yaml"):
        load_mapping(file)


def test_events_as_lines_need_no_mapping(tmp_path: Path) -> None:
    file = written(tmp_path / "a.ndjson", '{"type": "x", "time": "2026-01-01T00:00:00Z"}\n\nnonsense\n')
    good, bad = rows_of(file, None, "d")
    assert good.document == {"id": "d:1", "source": "urn:guanxi:import", "type": "x", "time": "2026-01-01T00:00:00Z"}
    assert (bad.line, bad.document) == (3, None)


def test_rules_name_file_and_path(tmp_path: Path) -> None:
    assert load_rules(tmp_path / "none.yaml").phone_region == "CN"
    with pytest.raises(RulesError, match=r"i\.yaml: phone_region"):
        load_rules(written(tmp_path / "i.yaml", "phone_region: China"))


def test_a_day_ends_where_the_next_begins() -> None:
    noon = from_rfc3339("1997-01-01T12:00:00Z")
    assert _day_ends(None, noon) == []
    assert _day_ends(noon, noon + HOUR) == []
    assert _day_ends(noon, noon + 12 * HOUR) == [noon + 12 * HOUR]
    assert len(_day_ends(noon, noon + 3 * DAY)) == 3
    assert len(_day_ends(noon, noon + 10_000 * DAY)) == 400


class TestTicks:
    def test_the_first_request_is_answered_at_once(self) -> None:
        wanted = Wanted()
        wanted.want(3, 1_000, 1_000)
        assert wanted.next_at() == 1_000
        assert wanted.take(1_000) == [3]
        assert wanted.next_at() is None

    def test_those_of_the_next_tenth_of_a_second_share_one(self) -> None:
        wanted = Wanted()
        wanted.want(3, 1_000, 1_000)
        wanted.take(1_000)
        for at in (1_010, 1_050, 1_090):
            wanted.want(3, at, at)
            wanted.want(4, at, at)
            assert wanted.take(at) == ([4] if at == 1_010 else [])
        assert wanted.next_at() == 1_000 + APART
        assert wanted.take(1_000 + APART) == [3]

    def test_a_request_ahead_of_its_time_waits_for_it(self) -> None:
        wanted = Wanted()
        wanted.want(3, 2_000, 1_000)
        wanted.want(3, 1_000, 1_000)
        assert wanted.take(1_500) == [3]
        assert wanted.next_at() == 2_000
        wanted.want(5, 1_000 + MINUTE + 1, 1_000)
        assert wanted.take(3_000) == [3]
