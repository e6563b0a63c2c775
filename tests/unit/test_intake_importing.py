"""`import FILE` before and beside its sending: what is wrong with a file, a dry run, the file of rejected rows."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from services.intake.importer import Mode
from services.intake.importing import Rejected, Task, WrongFile, run

CDNOW = Path(__file__).parents[2] / "deploy" / "config" / "imports" / "cdnow.yaml"
HEAD = "customer_id,purchased_on,quantity,amount\n"


def task(file: Path, text: str, mapping: Path | None = None, mode: Mode = "history", **change: Any) -> Task:
    file.write_text(text, "utf-8")
    rejected = change.get("rejected", file.with_name("rejected.csv"))
    return Task(file, mapping, mode, False, False, True, rejected, file.with_name("intake.yaml"))


def rejected_of(task: Task) -> list[str]:
    run(task, "http://nowhere", "", io.StringIO())
    return task.rejected.read_text("utf-8").splitlines()[1:] if task.rejected.exists() else []


def purchase(**change: Any) -> str:
    return json.dumps(
        {
            "type": "purchase.made",
            "time": "2020-01-01T00:00:00Z",
            "customer": {"phone": "+8613800138000"},
            "data": {"amount": {"amount": "1", "currency": "USD"}},
            **change,
        }
    )


def test_a_csv_file_without_a_mapping_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match="--mapping"):
        rejected_of(task(tmp_path / "a.csv", HEAD + "1,1997-01-01,1,1\n" * 3))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"customer": {"phone": "12"}}, "customer.phone"),
        ({"customer": {}}, "customer"),
        ({"time": "2099-01-01T00:00:00Z"}, "time"),
        ({"time": None}, "time"),
        ({"id": None}, "id"),
        ({"type": "clock.ticked"}, "type"),
        ({"data": {}}, "data.amount"),
        ({"customer": {"phone": "+8613800138000", "custom": {"shirt": "L"}}}, "customer.custom"),
    ],
)
def test_a_dry_run_sees_what_intake_would_refuse(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    (line,) = rejected_of(task(tmp_path / "a.ndjson", f"{purchase()}\n{purchase(**change)}\n"))
    assert line.startswith(f"2,{field},")


def test_a_dry_run_knows_the_fields_that_a_company_adds(tmp_path: Path) -> None:
    (tmp_path / "intake.yaml").write_text("custom_fields: {shirt: {}}")
    custom = {"phone": "+8613800138000", "custom": {"shirt": "L"}}
    assert rejected_of(task(tmp_path / "a.ndjson", purchase(customer=custom))) == []


def test_a_row_without_a_time_is_fine_where_it_happens_now(tmp_path: Path) -> None:
    assert rejected_of(task(tmp_path / "a.ndjson", purchase(time=None), mode="live")) == []


@pytest.mark.parametrize("place", ["nowhere/x.csv", ".", "a.ndjson"])
def test_a_place_that_cannot_take_rejected_rows_is_named_before_anything_is_done(tmp_path: Path, place: str) -> None:
    wanted = task(tmp_path / "a.ndjson", purchase(), rejected=tmp_path / place)
    with pytest.raises(WrongFile, match="--rejected"):
        rejected_of(wanted)
    assert wanted.file.read_text("utf-8") == purchase()


def test_rejected_rows_stand_in_the_file_as_soon_as_they_are_known(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    with Rejected(file) as rejected:
        rejected.add(3, "data.amount", "=1+1")
        rejected.add(3, "time", "is required")
        rejected.flush()
        assert file.read_text("utf-8").splitlines() == [
            "line,field,reason",
            "3,data.amount,'=1+1",
            "3,time,is required",
        ]
        assert len(rejected) == 1


def test_no_file_is_left_where_nothing_was_rejected(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("of an earlier run")
    with Rejected(file):
        pass
    assert not file.exists()


def test_a_device_may_take_rejected_rows_and_stays() -> None:
    with Rejected(Path("/dev/null")):
        pass
    assert Path("/dev/null").exists()
