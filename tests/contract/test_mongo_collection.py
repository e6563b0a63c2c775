"""A collection beside the documents, on a real store: inserts that meet themselves, and compare-and-set."""

import uuid
from collections.abc import AsyncIterator

import pytest

from shared.processing.mongo import Collection, Index, connect, ensure_collection
from shared.processing.mongo_collection import MOST_ROWS

pytestmark = pytest.mark.real


@pytest.fixture
async def rows(mongo: str) -> AsyncIterator[Collection]:
    client = connect(mongo)
    name = f"contract_{uuid.uuid4().hex[:12]}"
    await ensure_collection(client[name], "rows", (Index((("kind", 1), ("number", 1))),))
    yield Collection(client[name], "rows")
    await client.drop_database(name)
    client.close()


async def test_what_is_there_already_stays_as_it_is(rows: Collection) -> None:
    assert await rows.insert([{"_id": "a", "n": 1}]) == 1
    assert await rows.insert([{"_id": "a", "n": 2}, {"_id": "b", "n": 2}]) == 1
    assert await rows.find({}, order=[("_id", 1)]) == [{"_id": "a", "n": 1}, {"_id": "b", "n": 2}]
    assert await rows.insert([]) == 0


async def test_a_swap_meets_only_the_fence_that_was_read(rows: Collection) -> None:
    assert await rows.swap([({"_id": "a", "offset": 1}, None), ({"_id": "b", "offset": 1}, None)], "offset")
    assert await rows.swap([({"_id": "a", "offset": 2}, 1)], "offset")
    assert not await rows.swap([({"_id": "a", "offset": 3}, 1), ({"_id": "b", "offset": 3}, 1)], "offset")
    assert not await rows.swap([({"_id": "b", "offset": 4}, None)], "offset")
    assert [row["offset"] for row in await rows.find({}, order=[("_id", 1)])] == [2, 3]


async def test_more_rows_than_one_command_takes(rows: Collection) -> None:
    many = [{"_id": number, "kind": "x", "number": number} for number in range(MOST_ROWS + 5)]
    assert await rows.insert(many) == len(many)
    assert await rows.swap([({**row, "offset": 1}, None) for row in many[:3]], "offset") is False
    assert await rows.count({"kind": "x", "number": {"$gte": MOST_ROWS}}) == 5
    newest = await rows.find({"kind": "x", "number": {"$lt": 9}}, ["number"], [("number", -1)], 2)
    assert newest == [{"_id": 8, "number": 8}, {"_id": 7, "number": 7}]
    assert await rows.delete({"kind": "x"}) == len(many)


async def test_each_question_deletes_all_that_it_names_and_nothing_newer(rows: Collection) -> None:
    await rows.insert([{"_id": name, "sequence": number} for name, number in (("a", 1), ("b", 2), ("c", 3), ("d", 4))])
    older = [{"_id": {"$in": ["a", "b", "c"]}, "sequence": {"$lt": 3}}, {"_id": {"$in": ["d"]}, "sequence": {"$lt": 4}}]
    assert await rows.delete_each(older) == 2
    assert [row["_id"] for row in await rows.find({}, order=[("_id", 1)])] == ["c", "d"]
    assert await rows.delete_each([]) == 0
