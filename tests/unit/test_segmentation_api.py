"""Segmentation's routes over documents as the engine leaves them."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from prometheus_client import CollectorRegistry

from services.segmentation.api import build_router
from services.segmentation.domain import SegmentationDomain
from services.segmentation.reads import Reads
from services.segmentation.rules_in_force import RulesInForce
from services.segmentation.store import SegmentationQueries
from services.segmentation.versions import VersionedSegmentation
from shared.clock import DAY, from_rfc3339, to_rfc3339
from shared.events.customers import RulesActivated
from shared.processing.document import Document
from shared.processing.memory_versions import MemoryVersions
from shared.processing.versions import Prepared
from shared.web.app import Readiness, build_app
from shared.web.freshness import Freshness, PartitionProgress
from shared.web.keys import KeyRing
from tests.support.listed_documents import ListedDocuments
from tests.support.segmentation_drive import Drive, standard_domain
from tests.support.segmentation_oracle import Fact

T0 = from_rfc3339("2025-03-01T12:00:00Z")
NOBODY = "ffffffff-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def domain() -> VersionedSegmentation:
    return standard_domain()


@pytest.fixture
def documents(domain: SegmentationDomain) -> ListedDocuments:
    """20 customers spread over the ids, one purchase each on day n; the tenth bought twelve times."""
    documents = ListedDocuments()
    for number in range(20):
        at = T0 + number * DAY
        count = 12 if number == 9 else 1
        facts = [Fact("purchase", f"p{number}-{n}", at, at, amount="500") for n in range(count)]
        documents.listed.append(document_of(domain, f"{number * 0x0C000000:08x}-0000-4000-8000-00000000abcd", facts))
    return documents


def document_of(domain: SegmentationDomain, customer_id: str, facts: list[Fact]) -> Document:
    drive = Drive(domain, domain.initial(customer_id))
    for fact in facts:
        list(drive.apply(fact))
    state = drive.state
    return Document(
        customer_id,
        1,
        3,
        facts[-1].at,
        {},
        state=state.model_dump_json(),
        wake_at=state.next_at,
        view=dict(domain.view(state)),
    )


@pytest.fixture
def versions() -> MemoryVersions:
    return MemoryVersions()


@pytest.fixture
async def client(
    domain: VersionedSegmentation, documents: ListedDocuments, versions: MemoryVersions, tmp_path: Path
) -> AsyncIterator[AsyncClient]:
    async def progress() -> dict[int, PartitionProgress]:
        return {3: PartitionProgress(T0 + 25 * DAY, 0.5)}

    ring = KeyRing(tmp_path / "keys.json")
    key, _ = ring.create("test", ["read"])
    chronicle: Any = None
    queries, freshness = SegmentationQueries(documents, chronicle), Freshness(progress)
    reads = Reads(
        RulesInForce(domain, versions), queries, freshness, chronicle, chronicle, chronicle, chronicle, chronicle
    )
    router = build_router(reads)
    app = build_app("test", "segmentation", ring, lambda: Readiness(True, ""), [router], CollectorRegistry())
    async with AsyncClient(
        transport=ASGITransport(app), base_url="http://test", headers={"Authorization": f"Bearer {key}"}
    ) as client:
        yield client


async def test_a_customers_segments_with_since_why_and_when_next(
    client: AsyncClient, documents: ListedDocuments
) -> None:
    answer = (await client.get(f"/v1/customers/{documents.listed[0].id}/segments")).json()
    frequency = answer["memberships"]["purchase_frequency"]
    assert (frequency["value"], frequency["since"]) == ("low", to_rfc3339(T0))
    assert frequency["because"]["values"]["purchases_in_year"] == {"value": 1, "threshold": 1}
    assert frequency["because"]["events"] == ["p0-0"]
    assert answer["memberships"]["value"]["because"]["values"]["shown"] == {"value": "R5F1M2"}
    assert answer["memberships"]["lifecycle"]["because"]["values"]["since_first_purchase"]["value"] == "25d"
    assert answer["evaluated_at"] == answer["as_of"] == to_rfc3339(T0 + 25 * DAY)
    assert answer["next_change_at"] == to_rfc3339(T0 + 30 * DAY)
    assert answer["behind_seconds"] == 0.5


async def test_when_each_dimension_changes_next_and_to_what(client: AsyncClient, documents: ListedDocuments) -> None:
    answer = (await client.get(f"/v1/customers/{documents.listed[0].id}/segments")).json()
    memberships = answer["memberships"]
    assert memberships["status"]["next"] == {"at": to_rfc3339(T0 + 30 * DAY), "to": "active"}
    assert memberships["purchase_frequency"]["next"] == {"at": to_rfc3339(T0 + 365 * DAY), "to": "none"}
    assert set(memberships["status"]["note"]) == {"en", "zh"}
    assert answer["folded"] == 0


async def test_the_rules_in_force(client: AsyncClient) -> None:
    rules = (await client.get("/v1/rules")).json()
    assert rules["version"] == "1"
    assert rules["dimensions"]["status"]["rules"][1] == "status: lost when lifecycle = churned"
    assert set(rules["dimensions"]["value"]["note"]) == {"en", "zh"}
    assert set(rules["versions"].values()) == {1}
    assert (rules["activation"], rules["shadow"]) == (None, None)


async def test_a_change_of_rules_is_shown_while_it_is_under_way(
    client: AsyncClient, domain: VersionedSegmentation, versions: MemoryVersions, documents: ListedDocuments
) -> None:
    text = domain.written.rules.replace("spend_in_year >= 1000", "spend_in_year >= 50")
    second = RulesActivated(number=2, rules=text, digest=hashlib.sha256(text.encode()).hexdigest())
    await versions.keep(domain.written)
    await versions.keep(second)
    await versions.prepared(2, 3, Prepared({}, 77))
    assert (await client.get("/v1/rules")).json()["shadow"] == {"number": 2, "records": {"3": 77}}

    await versions.began(second, 0, 41)
    await versions.began(second, 5, 9)
    await versions.finished(2, 5)

    rules = (await client.get("/v1/rules")).json()
    assert (rules["number"], rules["version"], rules["versions"]["0"], rules["versions"]["5"]) == (2, "2", 1, 2)
    assert rules["activation"] == {"number": 2, "positions": {"0": 41, "5": 9}, "done": [5]}
    kept = (await client.get("/v1/rules/2")).json()
    assert kept == {"number": 2, "digest": second.digest, "rules": text}
    assert (await client.get("/v1/rules/7")).status_code == 404

    changed = documents.listed[0].replaced(version=2)
    documents.listed = [changed]
    shown = (await client.get(f"/v1/customers/{changed.id}/segments")).json()
    assert shown["rules_version"] == "2", "explained by the rules that made its state"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/v1/customers/{NOBODY}/segments", 404),
        (f"/v1/customers/{NOBODY}/segments/history", 404),
        ("/v1/customers/me/segments", 422),
        ("/v1/segments/purchase_frequency/huge", 404),
        ("/v1/segments/colour/red", 404),
        ("/v1/segments/composites/nobody", 404),
        ("/v1/segments/value/low?after=x", 422),
    ],
)
async def test_what_is_not_there_is_a_problem(client: AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_erased_customer_is_unknown(client: AsyncClient, documents: ListedDocuments) -> None:
    documents.listed = [documents.listed[0].replaced(state=None, view={}, erased=True)]
    assert (await client.get(f"/v1/customers/{documents.listed[0].id}/segments")).status_code == 404


async def test_without_a_key_nothing_is_read(client: AsyncClient) -> None:
    assert (await client.get("/v1/rules", headers={"Authorization": ""})).status_code == 401
