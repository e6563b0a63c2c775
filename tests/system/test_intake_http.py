"""Intake as users meet it: real HTTP, real Kafka, real store, and a process that is killed."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.provision import provision
from services.intake.importer import ImportFailed, import_events
from shared.clock import to_datetime, to_rfc3339, wall_clock
from shared.events.catalog import OUTPUT, WAKEUPS
from shared.events.codec import HEADERS, decode, short_name
from shared.events.customers import ClockTicked, CustomerRegistered
from shared.events.segments import CustomerForgotten
from shared.processing.emission import Cause, write
from shared.processing.kafka import KafkaConnection
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.records import Message
from shared.settings import Settings
from tests.support import servers
from tests.support.intake_process import IntakeProcess, events_of, records

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def settings(kafka: str, mongo: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data_dir = str(tmp_path_factory.mktemp("intake"))
    environ = {"GUANXI_KAFKA_BOOTSTRAP": kafka, "GUANXI_MONGO_URL": mongo, "GUANXI_DATA_DIR": data_dir}
    made = Settings.from_environment(environ, Path("/nonexistent"))
    provision(made, repair=True)
    return made


@pytest.fixture(scope="module")
def intake(settings: Settings) -> Iterator[IntakeProcess]:
    running = IntakeProcess(settings)
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def key(intake: IntakeProcess) -> str:
    return intake.key("admin", "unseal")


@pytest.fixture
async def http(intake: IntakeProcess, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with intake.client(key) as client:
        yield client


def purchase(customer: dict[str, Any], amount: str = "29.33", **more: Any) -> dict[str, Any]:
    data = {"amount": {"amount": amount, "currency": "USD"}}
    return {"type": "purchase.made", "customer": customer, "data": data, **more}


def somebody() -> dict[str, Any]:
    return {"external_id": {"system": "test", "id": uuid4().hex}}


def phone() -> str:
    return f"+86138{uuid4().int % 10**8:08d}"


async def types_of(settings: Settings, customer_id: str) -> list[str]:
    return [short_name(event.type) for event in await events_of(settings.kafka_bootstrap, {customer_id})]


async def test_an_unknown_customer_is_registered_first_and_nothing_comes_twice(
    http: httpx.AsyncClient, settings: Settings
) -> None:
    event = purchase({"phone": phone(), "name": "Canary Li"}, id=uuid4().hex)
    first = await http.post("/v1/events", json=event)
    again = await http.post("/v1/events", json=event)
    other = await http.post("/v1/events", json={**event, "data": {"amount": {"amount": "1", "currency": "USD"}}})
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
    assert first.json() == again.json()
    assert first.json()["registered"]
    assert other.headers["content-type"] == "application/problem+json"
    assert await types_of(settings, first.json()["customer_id"]) == ["customer.registered", "purchase.made"]


async def test_the_answer_says_where_the_record_stands(http: httpx.AsyncClient, settings: Settings) -> None:
    answer = (await http.post("/v1/events", json=purchase(somebody()))).json()
    topic, partition, offset = answer["position"].split(":")
    (found,) = [
        r for r in await records(settings.kafka_bootstrap) if (r.partition, r.offset) == (int(partition), int(offset))
    ]
    assert topic == "customers"
    assert decode(found.value or b"").id == answer["event_id"]


async def test_many_are_answered_each_by_itself(http: httpx.AsyncClient) -> None:
    customer = somebody()
    good = [purchase(customer, str(n), id=uuid4().hex) for n in range(3)]
    bad = purchase({"email": "nobody"})
    lines = "\n".join(json.dumps(event) for event in (good[0], bad, good[1]))
    for response in (
        await http.post("/v1/events", json=[good[0], bad, good[1]]),
        await http.post("/v1/events", content=lines, headers={"content-type": "application/x-ndjson"}),
    ):
        assert response.status_code == 202
        first, refused, second = response.json()
        assert first["customer_id"] == second["customer_id"]
        assert refused["problem"]["errors"][0]["field"] == "customer.email"
    assert (await http.post("/v1/events", json=[bad])).status_code == 422


async def test_cloud_events_in_three_modes_are_one_event(http: httpx.AsyncClient) -> None:
    customer_id = (await http.post("/v1/customers", json=somebody())).json()["customer_id"]
    event = {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": "/shop",
        "type": "guanxi.purchase.made.v1",
        "subject": customer_id,
    }
    data = purchase({})["data"]
    structured = json.dumps({**event, "data": data})
    kind = {"content-type": "application/cloudevents+json"}
    batch = {"content-type": "application/cloudevents-batch+json"}
    binary = {f"ce-{name}": value for name, value in event.items()}
    one = await http.post("/v1/events", content=structured, headers=kind)
    two = await http.post("/v1/events", content=f"[{structured}]", headers=batch)
    three = await http.post("/v1/events", json=data, headers=binary)
    assert [r.status_code for r in (one, two, three)] == [202, 202, 202]
    assert one.json() == two.json()[0] == three.json()


async def test_an_idempotency_key_stands_for_an_id(http: httpx.AsyncClient) -> None:
    event, headers = purchase(somebody()), {"idempotency-key": f'"{uuid4()}"'}
    first = await http.post("/v1/events", json=event, headers=headers)
    again = await http.post("/v1/events", json=event, headers=headers)
    other = await http.post("/v1/events", json=purchase(somebody()), headers=headers)
    assert first.json() == again.json()
    assert other.status_code == 422


async def test_the_same_request_many_times_at_once_has_one_effect(
    http: httpx.AsyncClient, settings: Settings, key: str
) -> None:
    """Through two intakes: one customer, one registration, one purchase."""
    second = IntakeProcess(settings)
    second.start()
    try:
        event = purchase({"phone": phone(), "email": f"{uuid4().hex}@example.com"}, id=uuid4().hex, source="/s")
        async with second.client(key) as other:
            answers = await asyncio.gather(
                *(client.post("/v1/events", json=event) for _ in range(10) for client in (http, other))
            )
    finally:
        assert second.stop() == 0
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    customer_id = answers[0].json()["customer_id"]
    assert await types_of(settings, customer_id) == ["customer.registered", "purchase.made"]


async def test_two_intakes_register_one_customer_once(http: httpx.AsyncClient, settings: Settings, key: str) -> None:
    second = IntakeProcess(settings)
    second.start()
    try:
        people = [{"phone": phone(), "email": f"{uuid4().hex}@example.com"} for _ in range(20)]
        async with second.client(key) as other:
            answers = await asyncio.gather(
                *(
                    client.post("/v1/events", json=purchase(person, str(n), id=f"{uuid4()}"))
                    for person in people
                    for n, client in enumerate((http, other))
                )
            )
    finally:
        assert second.stop() == 0
    assert {answer.status_code for answer in answers} == {202}
    pairs = [(a.json(), b.json()) for a, b in zip(answers[::2], answers[1::2], strict=True)]
    assert all(a["customer_id"] == b["customer_id"] and a["registered"] != b["registered"] for a, b in pairs)
    for event_types in [await types_of(settings, pairs[n][0]["customer_id"]) for n in (0, 7, 19)]:
        assert event_types == ["customer.registered", "purchase.made", "purchase.made"]


async def test_one_customers_events_stand_in_the_order_of_arrival(http: httpx.AsyncClient, settings: Settings) -> None:
    customer = somebody()
    ids = [uuid4().hex for _ in range(60)]
    answers = await asyncio.gather(
        *(
            http.post("/v1/events", json=[purchase(customer, id=one) for one in ids[start : start + 20]])
            for start in (0, 20, 40)
        )
    )
    customer_id = answers[0].json()[0]["customer_id"]
    logged = [event.id for event in await events_of(settings.kafka_bootstrap, {customer_id})][1:]
    assert Counter(logged) == Counter(ids)
    for start in (0, 20, 40):
        part = set(ids[start : start + 20])
        assert [one for one in logged if one in part] == ids[start : start + 20]
    positions = [int(item["position"].rpartition(":")[2]) for answer in answers for item in answer.json()]
    assert sorted(positions) == sorted(set(positions))


async def test_keys_of_two_customers_are_reported_not_chosen(http: httpx.AsyncClient) -> None:
    a, b = phone(), f"{uuid4().hex}@example.com"
    await http.post("/v1/customers", json={"phone": a})
    await http.post("/v1/customers", json={"email": b})
    response = await http.post("/v1/events", json=purchase({"phone": a, "email": b}))
    assert response.status_code == 409
    assert a not in response.text
    assert (await http.post("/v1/events", json=purchase({"id": str(uuid4())}))).status_code == 422


async def test_scopes(intake: IntakeProcess, http: httpx.AsyncClient) -> None:
    action = {"type": "contact.made", "customer": somebody(), "data": {"by": "amy"}}
    async with intake.client(intake.key("emit")) as emitter, intake.client(intake.key("staff")) as staff:
        assert (await emitter.post("/v1/events", json=action)).status_code == 403
        assert (await staff.post("/v1/events", json=action)).status_code == 202
        assert (await staff.post("/v1/events", json=purchase(somebody()))).status_code == 403
        assert (await emitter.post("/v1/imports", json={"import_id": "x"})).status_code == 403
    assert (await http.post("/v1/events", headers={"authorization": "Bearer gx_x_y"}, json={})).status_code == 401


async def test_a_customer_is_registered_found_corrected_and_shown(
    intake: IntakeProcess, http: httpx.AsyncClient, settings: Settings
) -> None:
    first, second = phone(), phone()
    made = await http.post("/v1/customers", json={"phone": first, "name": "Canary Li", "region": "Beijing"})
    found = await http.post("/v1/customers", json={"phone": first})
    assert (made.status_code, found.status_code) == (201, 200)
    customer_id = made.json()["customer_id"]
    assert found.json()["customer_id"] == customer_id
    path = f"/v1/customers/{customer_id}"
    change = {"phone": second, "region": "Hubei", "name": "Canary Li"}
    assert (await http.patch(path, json=change, params={"reason": "moved"})).status_code == 200
    assert (await http.put(f"{path}/consents/sms", json={"consent": "granted"})).status_code == 200
    shown = (await http.get(path)).json()
    assert shown["personal"] == {"phone": second, "name": "Canary Li"}
    assert (shown["facets"]["region"], shown["consents"]) == ("Hubei", {"sms": "granted"})
    async with intake.client(intake.key("read")) as reader:
        sealed = await reader.get(path)
        assert sealed.json()["personal"] == {"phone": "sealed", "name": "sealed"}
        assert (await reader.get(f"{path}/history")).json()["changes"][1]["to"] == "sealed"
    changes = (await http.get(f"{path}/history")).json()["changes"]
    assert [(c["field"], c["from"], c["to"]) for c in changes] == [
        ("region", "Beijing", "Hubei"),
        ("phone", first, second),
        ("consents.sms", None, "granted"),
    ]
    assert (await http.post("/v1/customers", json={"phone": second})).json()["customer_id"] == customer_id
    assert (await http.post("/v1/customers", json={"phone": first})).json()["customer_id"] != customer_id
    assert await types_of(settings, customer_id) == [
        "customer.registered",
        "customer.corrected",
        "customer.consent_changed",
    ]


async def test_an_erased_customer_is_unreadable_everywhere_and_services_give_receipts(
    http: httpx.AsyncClient, settings: Settings
) -> None:
    number = phone()
    event = {
        "type": "feedback.received",
        "customer": {"phone": number, "name": "Canary Li"},
        "data": {"kind": "complaint", "text": "canary text"},
    }
    customer_id = (await http.post("/v1/events", json=event)).json()["customer_id"]
    path = f"/v1/customers/{customer_id}"
    receipt = (await http.post(f"{path}/erasure", json={"reason": "asked"})).json()["receipt_id"]
    assert (await http.post(f"{path}/erasure", json={})).json()["receipt_id"] == receipt
    assert (await http.post("/v1/events", json=purchase({"id": customer_id}))).status_code == 410
    assert (await http.post("/v1/customers", json={"phone": number})).json()["customer_id"] != customer_id
    shown = (await http.get(path)).json()
    assert (shown["personal"], shown["facets"]) == ({}, {})
    kept = b"".join(record.value or b"" for record in await records(settings.kafka_bootstrap))
    for canary in ("Canary", "canary text", number, number[3:]):
        assert canary.encode() not in kept
    assert await types_of(settings, customer_id) == ["customer.registered", "feedback.received", "customer.erased"]
    await answer_erasure(settings, customer_id, receipt)
    async with asyncio.timeout(60):
        while not (answer := (await http.get(f"/v1/erasures/{receipt}")).json())["complete"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (answer["awaited"], set(answer["forgotten"])) == ([], set(OUTPUT))


async def answer_erasure(settings: Settings, customer_id: str, receipt_id: str) -> None:
    """As the three services do."""
    writer = KafkaWriter(KafkaConnection(settings.kafka_bootstrap))
    data = CustomerForgotten(customer_id=customer_id, receipt_id=receipt_id)
    await writer.publish(
        [
            Message(
                topic.name,
                customer_id.encode(),
                write(service, customer_id, 1, data, wall_clock(), Cause("", "e"), "").encode(),
                HEADERS,
            )
            for service, topic in OUTPUT.items()
        ]
    )
    await writer.stop()


async def test_a_tick_that_is_wanted_comes_at_once(http: httpx.AsyncClient, settings: Settings) -> None:
    assert (await http.get("/health/ready")).is_success
    writer = KafkaWriter(KafkaConnection(settings.kafka_bootstrap))
    late = []
    for _ in range(5):
        now = wall_clock()
        moment = to_rfc3339(now)
        wanted = {
            "specversion": "1.0",
            "id": f"{uuid4()}",
            "source": "t",
            "type": "guanxi.clock.tick_wanted.v1",
            "time": moment,
            "recordedtime": moment,
            "data": {"until": moment},
        }
        value = json.dumps(wanted).encode()
        await writer.publish([Message(WAKEUPS.name, None, value, HEADERS, 7)])
        late.append(await ticked(settings, 7, now) - now)
        await asyncio.sleep(0.2)
    await writer.stop()
    assert min(late) < 250, late
    assert sorted(late)[2] < 1_000, late


async def ticked(settings: Settings, partition: int, since: int) -> int:
    """The append time of the first tick after `since`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for record in await records(settings.kafka_bootstrap):
            if record.partition == partition and record.key is None and record.timestamp >= since:
                event = decode(record.value or b"")
                if isinstance(event.data, ClockTicked) and event.recordedtime >= to_datetime(since):
                    assert event.subject is None
                    return record.timestamp
        await asyncio.sleep(0.1)
    raise AssertionError("no tick came")


def history(people: int, days: int, prefix: str) -> list[dict[str, Any]]:
    return [
        purchase(
            {"external_id": {"system": prefix, "id": str((day * 7 + n) % people)}},
            str(n + 1),
            id=f"{day}-{n}",
            source=f"urn:test:{prefix}",
            time=f"1997-{1 + day // 28:02d}-{1 + day % 28:02d}T12:00:00Z",
        )
        for day in range(days)
        for n in range(5)
    ]


async def test_an_import_keeps_its_own_time_between_its_brackets(http: httpx.AsyncClient, settings: Settings) -> None:
    prefix = uuid4().hex
    rows = history(10, 30, prefix)
    first = await import_events(http, rows, "history", f"{prefix}-h", chunk=40)
    again = await import_events(http, rows, "history", f"{prefix}-h", chunk=40)
    assert (first.accepted, first.refused, first.status) == (150, [], "ended")
    assert (again.accepted, again.repeated, again.refused) == (0, 150, [])
    found = [(r, decode(r.value or b"")) for r in await records(settings.kafka_bootstrap)]
    mine = [(r, e) for r, e in found if e.id and (e.history and (e.subject is None or e.source.endswith(prefix)))]
    purchases = [e for _, e in mine if e.type == "guanxi.purchase.made.v1"]
    assert len(purchases) == 150
    assert all(e.recordedtime == e.time for e in purchases)
    for partition in range(12):
        kinds = [
            (e.type.split(".")[1:3], e)
            for r, e in found
            if r.partition == partition and getattr(e.data, "import_id", "").startswith(prefix)
        ]
        assert [kind for kind, _ in kinds] == [["history", "began"], ["history", "ended"]]
        ticks = [e for r, e in mine if r.partition == partition and isinstance(e.data, ClockTicked)]
        assert len([e for e in ticks if e.time.year == 1997]) >= 29


async def test_a_held_history_goes_on_in_the_next_import(http: httpx.AsyncClient, settings: Settings) -> None:
    prefix = uuid4().hex
    rows = history(5, 10, prefix)
    held = await import_events(http, rows[:25], "history", f"{prefix}-1", hold=True)
    assert held.status == "held"
    ended = await import_events(http, rows[25:], "replay", f"{prefix}-2")
    assert (ended.status, ended.accepted) == ("ended", 25)
    brackets = [
        event.data
        for record in await records(settings.kafka_bootstrap)
        if record.partition == 0
        and getattr((event := decode(record.value or b"")).data, "import_id", "")[:32] == prefix
    ]
    assert [type(data).__name__ for data in brackets] == ["HistoryBegan", "HistoryEnded"]
    assert (await http.get(f"/v1/imports/{prefix}-1")).json()["status"] == "ended"


@pytest.mark.parametrize("hold", [False, True])
async def test_however_rows_fall_on_partitions_each_is_told_that_the_last_instant_is_over(
    http: httpx.AsyncClient, settings: Settings, hold: bool
) -> None:
    """Else a timer of that day would fire as history in one partition and as the present in another."""
    prefix = uuid4().hex
    rows = history(1, 3, prefix)
    await import_events(http, rows, "history", f"{prefix}-h", hold=hold)
    found = [(r.partition, decode(r.value or b"")) for r in await records(settings.kafka_bootstrap)]
    for partition in range(12):
        bracket = [e for p, e in found if p == partition]
        began = next(n for n, e in enumerate(bracket) if getattr(e.data, "import_id", "").startswith(prefix))
        newest = [event for event in bracket[began:] if event.history][-1]
        assert newest.recordedtime.isoformat() == "1997-01-03T12:00:00.001000+00:00", partition
    if hold:
        assert (await http.post(f"/v1/imports/{prefix}-h/end")).json()["status"] == "ended"


CDNOW = Path(__file__).parents[2] / "deploy" / "config" / "imports" / "cdnow.yaml"


def imported(intake: IntakeProcess, key: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.intake", "import", str(file), "--mapping", str(CDNOW), "--json"]
    environ = {**os.environ, "GUANXI_KEY": key}
    return subprocess.run(
        [*command, "--url", intake.url, *options], env=environ, capture_output=True, text=True, timeout=240, check=False
    )


async def test_a_file_is_imported_once_and_what_is_wrong_with_it_is_written_down(
    intake: IntakeProcess, settings: Settings, key: str, tmp_path: Path
) -> None:
    file, person = tmp_path / "orders.csv", uuid4().hex
    rows = (f"{person},1997-01-02,2,29.33", f"{person},1997-01-01,1,14.96", f"{person},1997-01-01,1,plenty")
    file.write_text("\n".join(("customer_id,purchased_on,quantity,amount", *rows)) + "\n", "utf-8")

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return imported(intake, key, file, *options)

    unsorted = await asyncio.to_thread(run, "--history")
    assert (unsorted.returncode, "lines 3, 4" in unsorted.stderr) == (2, True)
    dry = await asyncio.to_thread(run, "--history", "--sort", "--dry-run")
    assert json.loads(dry.stdout) == {"rows": 3, "accepted": 0, "repeated": 0, "rejected": 1, "status": "dry run"}
    first = await asyncio.to_thread(run, "--history", "--sort")
    again = await asyncio.to_thread(run, "--history", "--sort")
    told = {"rows": 3, "rejected": 1, "status": "ended"}
    assert json.loads(first.stdout) == {**told, "accepted": 2, "repeated": 0}
    assert json.loads(again.stdout) == {**told, "accepted": 0, "repeated": 2}
    rejected = (tmp_path / "orders.csv.rejected.csv").read_text("utf-8").splitlines()
    assert rejected[0] == "line,field,reason"
    assert rejected[1].startswith("4,data.amount.amount,")
    logged = [
        decode(r.value or b"") for r in await records(settings.kafka_bootstrap) if person.encode() in (r.value or b"")
    ]
    assert len([event for event in logged if isinstance(event.data, CustomerRegistered)]) == 1


async def test_rows_out_of_order_and_a_second_history_are_refused(http: httpx.AsyncClient) -> None:
    prefix = uuid4().hex
    rows = history(3, 4, prefix)
    body = {"import_id": f"{prefix}-a", "mode": "history"}
    assert (await http.post("/v1/imports", json=body)).status_code == 201
    lines = "\n".join(json.dumps(row) for row in (rows[10], rows[0], {**rows[11], "time": None}))
    answer = (await http.post(f"/v1/imports/{prefix}-a/rows", content=lines)).json()
    assert answer["accepted"] == 1
    assert [(r["index"], r["problem"]["errors"][0]["field"]) for r in answer["refused"]] == [(2, "time"), (1, "time")]
    with pytest.raises(ImportFailed, match="has history open"):
        await import_events(http, rows, "history", f"{prefix}-b")
    assert (await http.post(f"/v1/imports/{prefix}-a/end")).json()["status"] == "ended"


async def test_killed_again_and_again_an_import_is_complete_and_nothing_is_twice(settings: Settings, key: str) -> None:
    """kill -9 of the importing intake; the log then has every row, its customers registered once, repeats byte-identical."""
    prefix = uuid4().hex
    rows = history(40, 60, prefix)
    victim = IntakeProcess(settings)
    victim.start()
    kills = 0

    async def murder() -> None:
        nonlocal kills
        for _ in range(4):
            await asyncio.sleep(1.5)
            victim.kill()
            kills += 1
            await asyncio.to_thread(victim.start)

    async with Rerouted(key, victim) as client:
        murderer = asyncio.create_task(murder())
        outcome = await import_events(client, rows, "history", f"{prefix}-k", chunk=10)
        await murderer
    victim.stop()
    assert kills == 4
    assert outcome.refused == []
    found = [
        decode(r.value or b"") for r in await records(settings.kafka_bootstrap) if prefix.encode() in (r.value or b"")
    ]
    purchases = {e.id: e for e in found if e.type == "guanxi.purchase.made.v1"}
    assert len(purchases) == len(rows)
    assert all(purchases[e.id] == e for e in found if e.id in purchases)
    registered = {e.subject for e in found if isinstance(e.data, CustomerRegistered)}
    assert len(registered) == 40
    assert {e.subject for e in purchases.values()} == registered


async def test_what_was_taken_in_while_kafka_was_away_is_sent_when_it_is_back(
    http: httpx.AsyncClient, settings: Settings, kafka_server: servers.Server
) -> None:
    """503 means unknown: the record is kept, sent once Kafka answers, and the retry gets the first answer."""
    customer = somebody()
    known = (await http.post("/v1/events", json=purchase(customer))).json()["customer_id"]
    first, second = (purchase(customer, id=uuid4().hex) for _ in range(2))
    kafka_server.pause()
    try:
        away = await http.post("/v1/events", json=first)
        assert (await http.get("/health/ready")).status_code == 503
        assert (await http.get("/health/live")).status_code == 200
    finally:
        kafka_server.resume()
    assert (away.status_code, away.headers["retry-after"]) == (503, "2")
    answers = await asyncio.gather(*(until_accepted(http, event) for event in (first, second, first)))
    assert answers[0] == answers[2]
    logged = [event.id for event in await events_of(settings.kafka_bootstrap, {known})]
    assert list(dict.fromkeys(logged))[2:] == [first["id"], second["id"]]


async def until_accepted(http: httpx.AsyncClient, event: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        response = await http.post("/v1/events", json=event)
        if response.status_code == 202:
            accepted: dict[str, Any] = response.json()
            return accepted
        assert response.status_code == 503
        await asyncio.sleep(0.5)
    raise AssertionError("never accepted")


class Rerouted(httpx.AsyncClient):
    """Follows the victim to the port of its next life."""

    def __init__(self, key: str, victim: IntakeProcess) -> None:
        super().__init__(headers={"authorization": f"Bearer {key}"})
        self._victim = victim

    async def post(self, url: Any, **options: Any) -> httpx.Response:
        if not self._victim.url:
            raise httpx.ConnectError("between two lives")
        return await super().post(f"{self._victim.url}{url}", **options)
