"""Files become events, row by row; ticks become due; day ends are counted."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.intake.importer import ImportFailed, Refused, import_events
from services.intake.imports import _day_ends
from services.intake.limits import LIMITS
from services.intake.mapping import MappingError, digest_of, load_mapping, rows_of, unsorted_lines
from services.intake.rules import load_rules
from services.intake.ticks import APART, Wanted
from shared.clock import DAY, HOUR, MINUTE, from_rfc3339
from shared.config_files import ConfigError

CDNOW = Path(__file__).parents[2] / "deploy" / "config" / "imports" / "cdnow.yaml"
HEAD = "customer_id,purchased_on,quantity,amount\n"


def nested(depth: int) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for _ in range(depth):
        whole = {"a": whole}
    return whole


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


def test_a_row_with_more_cells_than_columns_is_no_row(tmp_path: Path) -> None:
    """A sum written 1,234.50 without quotes would be one of 1."""
    file = written(tmp_path / "a.csv", HEAD + "0001,1997-01-01,2,1,234.50\n")
    (row,) = rows_of(file, load_mapping(CDNOW), "d")
    assert row.error is not None
    assert (row.line, row.error.field) == (2, "body")


def test_a_quote_that_is_wrong_takes_its_own_row_only(tmp_path: Path) -> None:
    rows = (
        '1,1997-01-01,1,1.00,"12 inch" disc',
        "2,1997-01-01,1,2.00,",
        '3,1997-01-01,1,3.00,12"',
        '4,1997-01-01,1,4.00,"of two\nlines"',
        '5,1997-01-01,1,5.00,"5 inch',
        "6,1997-01-01,1,6.00,",
        '7,1997-01-01,1,7.00,"never closed',
        "8,1997-01-01,1,8.00,",
    )
    file = written(tmp_path / "a.csv", HEAD.replace("\n", ",note\n") + "\n".join(rows))
    read = list(rows_of(file, load_mapping(CDNOW), "d"))
    assert [row.line for row in read if row.error is not None] == [2, 7, 9]
    assert [row.line for row in read if row.document is not None] == [3, 4, 6, 8, 10]


@pytest.mark.parametrize("day", ["19970101", "1997-W01-3", "1997-01-01"])
def test_a_date_in_any_form_gets_the_time_of_day(tmp_path: Path, day: str) -> None:
    (row,) = rows_of(written(tmp_path / "a.csv", HEAD + f"1,{day},2,1\n"), load_mapping(CDNOW), "d")
    assert row.document is not None
    assert row.document["time"] == "1997-01-01T12:00:00.000Z"


def test_a_time_that_no_utc_calendar_holds_is_no_time(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", HEAD + "1,9999-12-31T23:59:59-05:00,2,1\n")
    (row,) = rows_of(file, load_mapping(CDNOW), "d")
    assert row.error is not None
    assert row.error.field == "time"


def test_a_file_in_another_encoding_is_named_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(HEAD.encode() + "张三,1997-01-01,2,1.50\n".encode("gbk"))
    with pytest.raises(MappingError, match=r"a\.csv: not UTF-8.*iconv"):
        list(rows_of(file, load_mapping(CDNOW), "d"))


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": NaN}', '{"a": "' + "x" * 20_001 + '"}', r'{"a": "\ud800"}'])
def test_a_line_that_intake_would_not_read_is_set_aside_alone(tmp_path: Path, line: str) -> None:
    bad, good = rows_of(written(tmp_path / "a.ndjson", line + "\n{}\n"), None, "d")
    assert bad.error is not None
    assert good.document is not None


def test_a_row_whose_time_cannot_be_read_is_not_out_of_order(tmp_path: Path) -> None:
    times = ("2020-01-01T00:00:00Z", "yesterday", "2020-01-02T00:00:00", "2020-01-02T00:00:00z", "2020-01-01T23:00:00Z")
    file = written(tmp_path / "a.ndjson", "\n".join(f'{{"time": "{time}"}}' for time in times))
    assert unsorted_lines(rows_of(file, None, "d")) == [5]


def test_lines_out_of_order_are_named(tmp_path: Path) -> None:
    days = ("1997-01-02", "1997-01-01", "1997-01-02", "1996-12-31", "1997-01-03")
    file = written(tmp_path / "a.csv", HEAD + "".join(f"1,{day},1,1\n" for day in days))
    assert unsorted_lines(rows_of(file, load_mapping(CDNOW), "d")) == [3, 5]


def test_a_column_that_the_file_has_not_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", "customer_id,amount\n1,2\n")
    with pytest.raises(MappingError, match="purchased_on, quantity"):
        list(rows_of(file, load_mapping(CDNOW), "d"))


def test_a_mapping_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        load_mapping(tmp_path)
    file = tmp_path / "m.yaml"
    file.write_bytes("source: 订单".encode("gbk"))
    with pytest.raises(ConfigError, match=r"m\.yaml: not UTF-8"):
        load_mapping(file)


@pytest.mark.parametrize("text", ["format: xml", "format: [", "time: {column: a, zone: Mars}"])
def test_a_wrong_mapping_names_its_file(tmp_path: Path, text: str) -> None:
    file = written(tmp_path / "m.yaml", text)
    with pytest.raises(ConfigError, match=r"m\.yaml"):
        load_mapping(file)


def test_events_as_lines_need_no_mapping(tmp_path: Path) -> None:
    file = written(tmp_path / "a.ndjson", '{"type": "x", "time": "2026-01-01T00:00:00Z"}\n\nnonsense\n')
    good, bad = rows_of(file, None, "d")
    assert good.document == {"id": "d:1", "source": "urn:guanxi:import", "type": "x", "time": "2026-01-01T00:00:00Z"}
    assert (bad.line, bad.document) == (3, None)


def test_rules_name_file_and_path(tmp_path: Path) -> None:
    assert load_rules(tmp_path / "none.yaml").phone_region == "CN"
    with pytest.raises(ConfigError, match=r"i\.yaml: phone_region"):
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


class Door:
    """Intake's door as the importing client sees it: what came, and an answer that takes everything."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/rows"):
            return httpx.Response(200, json={"status": "ended"})
        self.chunks.append(await request.aread())
        lines = [line for line in self.chunks[-1].split(b"\n") if b"refuse me" in line]
        refused = [{"index": 0, "problem": {"title": "No"}}] * len(lines)
        rows = self.chunks[-1].count(b"\n") + 1 - len(refused)
        return httpx.Response(200, json={"accepted": rows, "repeated": 0, "refused": refused})

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self), base_url="http://intake")


async def test_chunks_are_as_large_as_intake_takes_them_and_keep_the_order() -> None:
    door = Door()
    rows = [{"id": str(n), "text": "中" * 6_000} for n in range(600)]
    outcome = await import_events(door.client(), rows, "history", "i")
    assert outcome.accepted == 600
    assert max(map(len, door.chunks)) <= LIMITS.import_body
    sent = [json.loads(line)["id"] for chunk in door.chunks for line in chunk.splitlines()]
    assert sent == [row["id"] for row in rows]


@pytest.mark.parametrize("row", [{"text": "x" * LIMITS.import_body}, nested(2_000)], ids=["large", "deep"])
async def test_a_row_that_no_chunk_holds_is_refused_alone(row: dict[str, Any]) -> None:
    door = Door()
    outcome = await import_events(door.client(), [{"id": "a"}, row, {"id": "\ud800"}, {"id": "b"}], "history", "i")
    assert (outcome.accepted, [refused.row for refused in outcome.refused]) == (3, [1])


async def test_what_is_refused_is_told_after_each_chunk() -> None:
    told: list[list[Refused]] = []
    rows = [{"id": "refuse me"}, {"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "refuse me"}]
    await import_events(Door().client(), rows, "history", "i", chunk=2, on_refused=lambda some: told.append([*some]))
    assert told == [[Refused(0, "", "No")], [], [Refused(4, "", "No")], []]


async def test_an_answer_that_is_not_intakes_ends_the_import_with_advice() -> None:
    stranger = httpx.MockTransport(lambda _request: httpx.Response(404, text="<html>"))
    async with httpx.AsyncClient(transport=stranger, base_url="http://elsewhere") as client:
        with pytest.raises(ImportFailed, match="--url"):
            await import_events(client, [{"id": "a"}], "history", "i")
