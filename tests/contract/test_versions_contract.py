"""Every sentence of the VersionStore port, held by the one in memory and by MongoDB."""

import uuid
from collections.abc import AsyncIterator

import pytest

from shared.events.customers import RulesActivated
from shared.processing.document import Document
from shared.processing.memory_versions import MemoryVersions
from shared.processing.mongo import connect, ensure_collection
from shared.processing.mongo_versions import MongoVersions
from shared.processing.records import Committed
from shared.processing.versions import Prepared, Version, VersionStore

TWO = RulesActivated(number=2, rules="two: 2", digest="d2")
OTHER = RulesActivated(number=2, rules="two: zwei", digest="e2")
SO_FAR = Prepared({"guanxi.customers.v1": Committed(7, '{"n":1}')}, 7)


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.real)])
async def versions(request: pytest.FixtureRequest) -> AsyncIterator[VersionStore]:
    if request.param == "memory":
        yield MemoryVersions()
        return
    client = connect(request.getfixturevalue("mongo"))
    name = f"contract_{uuid.uuid4().hex[:12]}"
    await ensure_collection(client[name], "sessions", ())
    made = MongoVersions(client, client[name], group_commit=True)
    yield made
    await made.close()
    await client.drop_database(name)
    client.close()


async def only(versions: VersionStore) -> Version:
    [version] = await versions.all()
    return version


async def test_the_first_text_under_a_number_is_kept(versions: VersionStore) -> None:
    assert await versions.all() == []
    assert await versions.keep(TWO) == Version(2, "two: 2", "d2")
    assert (await versions.keep(OTHER)).digest == "d2"
    await versions.keep(RulesActivated(number=1, rules="one: 1", digest="d1"))
    assert [version.number for version in await versions.all()] == [1, 2]


async def test_what_is_prepared_is_said_per_partition(versions: VersionStore) -> None:
    assert not await versions.prepared(2, 3, SO_FAR)
    await versions.keep(TWO)
    assert await versions.prepared(2, 3, SO_FAR)
    assert await versions.prepared(2, 11, SO_FAR)
    assert dict((await only(versions)).prepared) == {3: SO_FAR, 11: SO_FAR}


async def test_an_activation_begins_and_ends_per_partition(versions: VersionStore) -> None:
    await versions.began(TWO, 0, 41)
    await versions.began(TWO, 5, 9)
    await versions.began(TWO, 0, 41)
    await versions.finished(2, 5)
    version = await only(versions)
    assert (dict(version.positions), version.done, version.rules) == ({0: 41, 5: 9}, {5}, "two: 2")
    assert version.holds(0, 42)
    assert not version.holds(0, 41)
    assert not version.holds(1, 1_000)


async def test_the_logs_text_wins_over_another_that_was_prepared(versions: VersionStore) -> None:
    await versions.keep(OTHER)
    await (await versions.shadow(2)).save([Document("a", rev=1)])
    await versions.prepared(2, 0, SO_FAR)
    await versions.began(TWO, 0, 41)
    version = await only(versions)
    assert (version.digest, dict(version.prepared), dict(version.positions)) == ("d2", {}, {0: 41})
    assert await (await versions.shadow(2)).ids(0) == []


async def test_calling_off_drops_the_shadow_until_it_is_wanted_again(versions: VersionStore) -> None:
    assert await versions.call_off(2)
    await versions.keep(TWO)
    await (await versions.shadow(2)).save([Document("a", rev=1)])
    await versions.prepared(2, 0, SO_FAR)
    assert await versions.call_off(2)
    assert (await only(versions)).called_off
    assert not await versions.prepared(2, 0, SO_FAR)
    assert await (await versions.shadow(2)).ids(0) == []
    assert not (await versions.keep(TWO)).called_off


async def test_what_has_begun_cannot_be_called_off(versions: VersionStore) -> None:
    await versions.keep(TWO)
    await versions.call_off(2)
    await versions.began(TWO, 0, 41)
    assert not await versions.call_off(2)
    assert not (await only(versions)).called_off


async def test_a_dropped_shadow_says_nothing_of_what_it_held(versions: VersionStore) -> None:
    await versions.keep(TWO)
    await versions.prepared(2, 0, SO_FAR)
    await versions.drop_shadow(2)
    await versions.drop_shadow(2)
    assert dict((await only(versions)).prepared) == {}
