"""Every sentence of the Store port, held by the store in memory and by MongoDB with and without group commit."""

import pytest

from shared.processing import mongo_store
from shared.processing.document import Document, Entry, Parked, Waiting
from shared.processing.ports import Store, Timer

FULL = Document(
    "full",
    rev=1,
    partition=3,
    at=1_700_000_000_000,
    positions={"customers:3": 7, "segments:3": 0},
    applied={"segmentation": 4},
    recent=(("0a1b", 5), ("ffff", 6)),
    wake_at=1_800_000_000_000,
    sequence=9,
    outbox=(Entry("customers:3:7", '{"type":"a"}'), Entry("", '{"type":"b"}')),
    unsent=True,
    parked=Parked("KeyError", 12, (Waiting("guanxi.customers.v1", 8, 13),)),
    history=0,
    mark="history",
    erased=True,
    disordered=True,
    state='{"名":"客户","value":1}',
    view={"segments": ["frequent", "价值高"], "spend": {"cents": 120}, "since": None},
)


def doc(key: str, rev: int = 1, **fields) -> Document:
    return Document(key, rev=rev, **{"positions": {"customers:0": rev}, "state": f'{{"rev":{rev}}}', **fields})


async def test_what_was_saved_is_loaded_field_by_field(store: Store) -> None:
    assert await store.save([FULL, doc("plain")])
    assert await store.load(["full", "plain", "nobody"]) == {"full": FULL, "plain": doc("plain")}


async def test_nobody_and_nothing(store: Store) -> None:
    assert await store.load(["nobody"]) == {}
    assert await store.load([]) == {}
    assert await store.save([])


async def test_what_a_caller_keeps_cannot_change_what_is_stored(store: Store) -> None:
    mine = doc("a", view={"segments": ["x"]})
    await store.save([mine])
    mine.rev = 7
    mine.view["segments"].append("y")
    stored = (await store.load(["a"]))["a"]
    assert stored.rev == 1
    assert stored.view == {"segments": ["x"]}
    stored.view["segments"].append("z")
    assert (await store.load(["a"]))["a"].view == {"segments": ["x"]}


async def test_each_revision_follows_the_one_before(store: Store) -> None:
    for rev in (1, 2, 3):
        assert await store.save([doc("a", rev)])
    assert (await store.load(["a"]))["a"] == doc("a", 3)


async def test_a_field_that_went_is_gone(store: Store) -> None:
    await store.save([FULL])
    assert await store.save([Document("full", rev=2, partition=3)])
    assert (await store.load(["full"]))["full"] == Document("full", rev=2, partition=3)
    assert await store.due(3, 0, FULL.wake_at) == []
    assert await store.unsent(3) == []
    assert await store.parked(3) == []


@pytest.mark.parametrize("rev", [1, 2, 4, 9])
async def test_another_revision_than_the_next_is_refused(store: Store, rev: int) -> None:
    await store.save([doc("a", 1)])
    await store.save([doc("a", 2)])
    assert not await store.save([doc("a", rev, state='{"late":true}')])
    assert (await store.load(["a"]))["a"] == doc("a", 2)


async def test_a_later_revision_of_nobody_is_refused(store: Store) -> None:
    assert not await store.save([doc("a", 2)])
    assert await store.load(["a"]) == {}


async def test_the_same_write_twice_counts_once(store: Store) -> None:
    """What a retry over an unknown outcome does."""
    assert await store.save([doc("a", 1)])
    assert not await store.save([doc("a", 1)])
    assert await store.save([doc("a", 2)])
    assert not await store.save([doc("a", 2)])


@pytest.mark.parametrize("conflict", [doc("b", 1, state='{"late":true}'), doc("b", 3, state='{"late":true}')])
async def test_one_conflict_among_many_is_told_and_never_written(store: Store, conflict: Document) -> None:
    """Any of the others may have been written: none of them in part, and all of them after a redo."""
    await store.save([doc("a"), doc("b")])
    assert not await store.save([doc("a", 2), conflict, doc("c", 1)])
    found = await store.load(["a", "b", "c"])
    assert found["b"] == doc("b")
    assert found["a"] in (doc("a", 1), doc("a", 2))
    assert found.get("c") in (None, doc("c", 1))
    redo = [doc(key, (found[key].rev if key in found else 0) + 1) for key in ("a", "b", "c")]
    assert await store.save(redo)
    assert await store.load(["a", "b", "c"]) == {document.id: document for document in redo}


async def test_two_writers_of_one_revision_never_both_win(store: Store) -> None:
    await store.save([doc("a")])
    assert await store.save([doc("a", 2, state='{"by":1}')])
    assert not await store.save([doc("a", 2, state='{"by":2}')])
    assert (await store.load(["a"]))["a"].state == '{"by":1}'


async def test_large_batches_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo_store, "LARGEST_COMMAND", 20_000)
    monkeypatch.setattr(store, "_most", 7, raising=False)
    first = [doc(f"{number:03}", state="x" * (100 * number)) for number in range(120)]
    assert await store.save(first)
    second = [document.replaced(rev=2) for document in first] + [doc("new")]
    assert await store.save(second)
    assert await store.load([document.id for document in second]) == {document.id: document for document in second}
    assert not await store.save([document.replaced(rev=3 if document.id != "077" else 9) for document in second[:-1]])


async def test_due_is_open_below_and_closed_above(store: Store) -> None:
    await store.save([doc(str(at), wake_at=at) for at in (10, 20, 30)] + [doc("never")])
    assert await store.due(0, 10, 30) == [Timer(20, "20"), Timer(30, "30")]
    assert await store.due(0, 9, 10) == [Timer(10, "10")]
    assert await store.due(0, 20, 20) == []
    assert await store.due(0, 30, 1_000) == []


async def test_due_comes_in_order_and_knows_the_partition(store: Store) -> None:
    await store.save([doc("b", wake_at=5), doc("a", wake_at=5), doc("c", wake_at=4), doc("x", wake_at=5, partition=1)])
    assert [timer.customer_id for timer in await store.due(0, -1, 10)] == ["c", "a", "b"]
    assert await store.due(1, -1, 10) == [Timer(5, "x")]


async def test_due_counts_an_instant_of_zero(store: Store) -> None:
    await store.save([doc("a", wake_at=0)])
    assert await store.due(0, -1, 0) == [Timer(0, "a")]


async def test_due_tells_the_bracket_and_leaves_the_parked_out(store: Store) -> None:
    parked = Parked("KeyError", 1)
    await store.save([doc("now", wake_at=5), doc("past", wake_at=6, history=0), doc("stuck", wake_at=5, parked=parked)])
    assert await store.due(0, 0, 10) == [Timer(5, "now"), Timer(6, "past", 0)]


async def test_unsent_are_those_whose_mark_nobody_cleared(store: Store) -> None:
    entry = Entry("", "{}")
    documents = [
        doc("a", unsent=True, outbox=(entry,)),
        doc("b", unsent=True),
        doc("c"),
        doc("x", unsent=True, partition=1),
    ]
    await store.save(documents)
    assert await store.unsent(0) == ["a", "b"]
    await store.clear_unsent({"a": 1, "c": 1, "nobody": 1})
    assert await store.unsent(0) == ["b"]
    assert (await store.load(["a"]))["a"] == documents[0].replaced(unsent=False)
    assert await store.unsent(1) == ["x"]


async def test_clearing_asks_for_the_revision_and_leaves_it(store: Store) -> None:
    await store.save([doc("a", unsent=True), doc("b", unsent=True)])
    await store.save([doc("a", 2, unsent=True)])
    await store.clear_unsent({"a": 1, "b": 1})
    assert await store.unsent(0) == ["a"]
    await store.clear_unsent({"a": 2})
    assert await store.unsent(0) == []
    assert await store.save([doc("a", 3), doc("b", 2)])


async def test_clearing_nothing(store: Store) -> None:
    await store.clear_unsent({})


async def test_parked_by_partition(store: Store) -> None:
    parked = Parked("KeyError", 1, (Waiting("guanxi.customers.v1", 2, 3),))
    await store.save([doc("b", parked=parked), doc("a", parked=parked), doc("c"), doc("x", parked=parked, partition=1)])
    assert await store.parked(0) == ["a", "b"]
    assert await store.parked(1) == ["x"]
    assert await store.parked(2) == []


async def test_ids_of_a_partition(store: Store) -> None:
    await store.save([doc("b"), doc("a", erased=True), doc("x", partition=1)])
    assert await store.ids(0) == ["a", "b"]
    assert await store.ids(1) == ["x"]
    assert await store.ids(2) == []


async def test_the_version_that_made_a_state_is_kept(store: Store) -> None:
    await store.save([doc("a"), doc("b", version=3)])
    found = await store.load(["a", "b"])
    assert (found["a"].version, found["b"].version) == (1, 3)
