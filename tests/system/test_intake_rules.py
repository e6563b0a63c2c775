"""Versions of the rules through intake's real door: on every partition once, whoever asks how often and dies in between."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from deploy.provision import provision
from shared.events.catalog import PARTITIONS
from shared.events.codec import decode
from shared.events.customers import RulesActivated
from shared.settings import Settings
from tests.support.intake_process import IntakeProcess, records

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def settings(kafka: str, mongo: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data_dir = str(tmp_path_factory.mktemp("intake-rules"))
    environ = {"GUANXI_KAFKA_BOOTSTRAP": kafka, "GUANXI_MONGO_URL": mongo, "GUANXI_DATA_DIR": data_dir}
    made = Settings.from_environment(environ, Path("/nonexistent"))
    provision(made, repair=True)
    return made


@pytest.fixture(scope="module")
def two(settings: Settings) -> Iterator[tuple[IntakeProcess, IntakeProcess]]:
    pair = IntakeProcess(settings), IntakeProcess(settings)
    for one in pair:
        one.start()
    yield pair
    for one in pair:
        assert one.stop() == 0


def rules() -> str:
    return f"# {uuid4().hex}\ndimensions: {{}}\n"


async def activated(settings: Settings, number: int) -> list[tuple[int, str]]:
    """(partition, text) of every record that activates this version."""
    found = [(record.partition, decode(record.value or b"").data) for record in await records(settings.kafka_bootstrap)]
    return [(p, data.rules) for p, data in found if isinstance(data, RulesActivated) and data.number == number]


async def test_a_version_is_on_every_partition_once_whoever_asks(
    two: tuple[IntakeProcess, IntakeProcess], settings: Settings
) -> None:
    text, key = rules(), two[0].key("admin")
    async with two[0].client(key) as http, two[1].client(key) as other:
        made = await asyncio.gather(*(client.post("/v1/rules", json={"rules": text}) for client in (http, other) * 3))
        assert sorted(answer.status_code for answer in made) == [200] * 5 + [201]
        (number,) = {answer.json()["number"] for answer in made}
        asked = [client.post(f"/v1/rules/{number}/activation") for client in (http, other) * 3]
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        assert {answer.json()["state"] for answer in answers} == {"activated"}
        assert (await other.get(f"/v1/rules/{number}")).json()["rules"] == text
    assert sorted(await activated(settings, number)) == [(partition, text) for partition in range(PARTITIONS)]


async def test_a_killed_intake_sends_the_same_records_and_no_others(
    two: tuple[IntakeProcess, IntakeProcess], settings: Settings
) -> None:
    key = two[0].key("admin")
    async with two[1].client(key) as other:
        number = (await other.post("/v1/rules", json={"rules": rules()})).json()["number"]
        async with two[0].client(key) as http:
            asking = asyncio.create_task(http.post(f"/v1/rules/{number}/activation"))
            await asyncio.sleep(0.005)
            two[0].kill()
            await asyncio.gather(asking, return_exceptions=True)
        two[0].start()
        answer = await other.post(f"/v1/rules/{number}/activation")
        assert (answer.status_code, answer.json()["state"]) == (200, "activated")
    assert Counter(p for p, _ in await activated(settings, number)) == dict.fromkeys(range(PARTITIONS), 1)


async def test_numbers_only_rise_and_what_was_called_off_stays_so(
    two: tuple[IntakeProcess, IntakeProcess], settings: Settings
) -> None:
    async with two[0].client(two[0].key("admin")) as http:
        old, new, off = [(await http.post("/v1/rules", json={"rules": rules()})).json()["number"] for _ in range(3)]
        assert (await http.post(f"/v1/rules/{off}/withdrawal")).json()["state"] == "withdrawn"
        assert (await http.post(f"/v1/rules/{new}/activation")).status_code == 200
        late, gone, twice = [
            await http.post(path)
            for path in (f"/v1/rules/{old}/activation", f"/v1/rules/{off}/activation", f"/v1/rules/{new}/withdrawal")
        ]
        assert [answer.status_code for answer in (late, gone, twice)] == [409, 409, 409]
        states = {v["number"]: v["state"] for v in (await http.get("/v1/rules")).json()["versions"]}
        assert (states[old], states[new], states[off]) == ("proposed", "activated", "withdrawn")
        assert (await _refused(http)) == 422
    assert await activated(settings, old) == await activated(settings, off) == []


async def _refused(http: httpx.AsyncClient) -> int:
    return (await http.post("/v1/rules", json={"rules": "metrics: {}"})).status_code
