"""Intake's store on the real thing: who was first stays first, and whatever is asked again answers the same."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.intake.batches import Batch, Entry, Guard, Line
from services.intake.customers import Customer, corrected, erased
from services.intake.domain import Offer, Person
from services.intake.entries import EntryWriter
from services.intake.identities import Identities, KnownKeys
from services.intake.refusal import Refusal
from services.intake.registers import Import, ImportRegister, KeyRegister, ReceiptRegister
from services.intake.store import IntakeStore
from shared.events.customers import FeedbackReceived, FieldChange
from shared.privacy import ERASED, KeyDestroyed, Vault
from shared.processing.mongo import connect

pytestmark = pytest.mark.real


@pytest.fixture
async def database(mongo: str) -> AsyncIterator[Any]:
    client = connect(mongo)
    name = f"intake_{uuid4().hex[:12]}"
    yield client[name]
    await client.drop_database(name)
    client.close()


@pytest.fixture
async def store(database: Any) -> IntakeStore:
    store = IntakeStore(database)
    await store.ensure()
    await store.ensure()
    return store


def entry(claim: str | None = None, customer: str = "x", print_: str = "f", guard: Guard | None = None) -> Entry:
    return Entry(f"event-{claim}", customer, (Line("record"),), guard is not None, claim, print_, guard)


def batch(*entries: Entry, at: int = 1, number: int = 1) -> Batch:
    return Batch(str(uuid4()), "me", number, at, entries)


def registration(customer: str, *keys: str, claim: str | None = None) -> Entry:
    return entry(claim, customer, guard=Guard(Customer(id=customer, registered_at=1), keys=keys))


async def judged(store: IntakeStore, wanted: Batch) -> tuple[set[int], set[int]]:
    verdict = await store.judge(wanted)
    return verdict.lost, set(verdict.repeated)


async def test_the_first_claim_holds_and_tells_where_it_went(store: IntakeStore) -> None:
    first, second = batch(entry("a"), entry("b")), batch(entry("b", print_="other"), entry("c"))
    await store.begin(first)
    assert await judged(store, first) == (set(), set())
    verdict = await store.judge(second)
    assert set(verdict.repeated) == {0}
    holder = verdict.repeated[0]
    assert (holder.batch, holder.index, holder.fingerprint) == (first.id, 1, "f")
    assert await store.positions(first.id) is None
    await store.acknowledge(first.id, {0: "customers:0:1", 1: "customers:0:2"})
    assert await store.positions(holder.batch) == {0: "customers:0:1", 1: "customers:0:2"}


async def test_asked_again_it_says_the_same(store: IntakeStore) -> None:
    wanted = batch(registration("x", "phone:1", "email:1", claim="a"), entry("b"))
    for _ in range(3):
        await store.begin(wanted)
        assert await judged(store, wanted) == (set(), set())


async def test_of_many_at_once_one_registers_the_customer(store: IntakeStore) -> None:
    batches = [batch(registration(f"c{n}", "phone:1", "email:1"), entry(f"of-{n}", f"c{n}")) for n in range(8)]
    verdicts = await asyncio.gather(*(judged(store, one) for one in batches))
    winners = [n for n, (lost, _) in enumerate(verdicts) if not lost]
    assert all(lost == {0, 1} for n, (lost, _) in enumerate(verdicts) if n not in winners)
    assert len(winners) <= 1
    owners = {customer for customer, _ in (await store.owners(["phone:1", "email:1"])).values()}
    assert owners == {f"c{n}" for n in winners}
    registered = await store.customers([f"c{n}" for n in range(8)])
    assert set(registered) == owners


async def test_who_wins_one_key_only_gives_it_back(store: IntakeStore) -> None:
    await store.judge(batch(registration("a", "phone:1")))
    assert (await judged(store, batch(registration("b", "email:1", "phone:1"))))[0] == {0}
    assert set(await store.owners(["email:1", "phone:1"])) == {"phone:1"}


async def test_a_change_of_a_changed_customer_is_lost_but_a_repeated_one_is_not(store: IntakeStore) -> None:
    await store.judge(batch(registration("x", "phone:1")))
    customer = (await store.customers(["x"]))["x"]
    one, other = (
        corrected(customer, {"region": FieldChange(from_=None, to=to)}, f"e-{to}", "amy", 1) for to in ("A", "B")
    )
    first = batch(entry(None, guard=Guard(one, 1)))
    assert await judged(store, first) == (set(), set())
    assert await judged(store, batch(entry(None, guard=Guard(other, 1)))) == ({0}, set())
    assert await judged(store, first) == (set(), set())
    assert (await store.customers(["x"]))["x"].facets == {"region": "A"}


async def test_a_repetition_changes_nothing(store: IntakeStore) -> None:
    await store.judge(batch(registration("x", "phone:1")))
    customer = (await store.customers(["x"]))["x"]
    once = corrected(customer, {"consents.sms": FieldChange(to="granted")}, "e1", "amy", 1)
    await store.judge(batch(entry("a", guard=Guard(once, 1))))
    late = corrected(once, {"consents.sms": FieldChange(to="denied")}, "e1", "amy", 1)
    assert await judged(store, batch(entry("a", guard=Guard(late, 2)))) == (set(), {0})
    assert (await store.customers(["x"]))["x"].consents == {"sms": "granted"}


def changed(customer: Customer, region: str) -> Customer:
    changes = {"region": FieldChange(from_=customer.facets.get("region"), to=region)}
    return corrected(customer, changes, f"e-{region}", "amy", 1)


async def test_a_change_is_known_as_its_batchs_own_whatever_came_after_it(store: IntakeStore) -> None:
    made = batch(registration("x", "phone:1"))
    customers = [made.guards[0].customer]
    batches = [made]
    for region in "ABC":
        customers.append(changed(customers[-1], region))
        batches.append(batch(entry(region, guard=Guard(customers[-1], customers[-2].rev))))
        customers[-1] = customers[-1].model_copy(update={"changes": ()})
    for one in batches:
        assert await judged(store, one) == (set(), set())
    for one in batches:
        assert await judged(store, one) == (set(), set())
    assert (await store.customers(["x"]))["x"] == customers[-1]
    assert [change.to for change in await store.history("x")] == ["A", "B", "C"]


async def test_whatever_follows_a_lost_change_of_the_same_customer_is_lost_too(store: IntakeStore) -> None:
    await store.judge(batch(registration("x", "phone:1"), registration("y", "phone:2")))
    found = await store.customers(["x", "y"])
    await store.judge(batch(entry("first", guard=Guard(changed(found["x"], "A"), 1))))
    wanted = batch(
        entry("before"),
        entry("beaten", guard=Guard(changed(found["x"], "B"), 1)),
        entry("of y", "y", guard=Guard(changed(found["y"], "B"), 1)),
        entry("after"),
        entry(),
    )
    assert await judged(store, wanted) == ({1, 3, 4}, set())
    assert set(await store.claims(["beaten", "after", "of y", "before"])) == {"of y", "before"}
    assert (await store.customers(["x"]))["x"].facets == {"region": "A"}


async def test_a_key_that_came_with_a_lost_change_is_given_back(store: IntakeStore) -> None:
    await store.judge(batch(registration("x", "phone:1")))
    customer = (await store.customers(["x"]))["x"]
    await store.judge(batch(entry(guard=Guard(changed(customer, "A"), 1))))
    late = changed(customer, "B").model_copy(update={"keys": {"email": "email:1"}})
    assert (await judged(store, batch(entry(guard=Guard(late, 1, ("email:1",))))))[0] == {0}
    assert set(await store.owners(["phone:1", "email:1"])) == {"phone:1"}


class Dies(Exception):
    """The process ends here."""


async def test_a_key_that_was_claimed_before_a_crash_is_given_back_by_whoever_judges_again(
    store: IntakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.judge(batch(registration("x", "phone:1")))
    customer = (await store.customers(["x"]))["x"]
    late = changed(customer, "B").model_copy(update={"keys": {"email": "email:1"}})
    wanted = batch(entry(guard=Guard(late, 1, ("email:1",))))

    async def dies(_rows: Any) -> None:
        raise Dies

    with monkeypatch.context() as crash:
        crash.setattr(store, "_file", dies)
        with pytest.raises(Dies):
            await store.judge(wanted)
    assert set(await store.owners(["email:1"])) == {"email:1"}
    await store.judge(batch(entry(guard=Guard(changed(customer, "A"), 1))))
    assert (await judged(store, wanted))[0] == {0}
    assert await store.owners(["email:1"]) == {}


async def test_a_history_that_was_filed_behind_an_erasure_goes_too(
    database: Any, store: IntakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.judge(batch(registration("x", "phone:1")))
    one = changed((await store.customers(["x"]))["x"], "A")
    await store.judge(batch(entry(guard=Guard(one, 1))))
    one = one.model_copy(update={"changes": ()})
    wanted, file = batch(entry(guard=Guard(changed(one, "B"), one.rev))), store._file

    async def dies_after_somebody_else_erased(rows: Any) -> None:
        kept = list(rows)
        await IntakeStore(database).judge(batch(entry(guard=Guard(erased(one, "r", 9), one.rev, release=("phone:1",)))))
        await file(kept)
        raise Dies

    with monkeypatch.context() as crash:
        crash.setattr(store, "_file", dies_after_somebody_else_erased)
        with pytest.raises(Dies):
            await store.judge(wanted)
    assert (await judged(store, wanted))[0] == {0}
    assert await database["changes"].count_documents({}) == 0


async def test_of_the_erased_neither_changes_nor_keys_are_left(database: Any, store: IntakeStore) -> None:
    await store.judge(batch(registration("x", "phone:1")))
    customer = (await store.customers(["x"]))["x"]
    one = changed(customer, "A")
    two = changed(one.model_copy(update={"changes": ()}), "B")
    for guard in (Guard(one, 1), Guard(two, 2)):
        await store.judge(batch(entry(guard=guard)))
    await store.judge(batch(entry(guard=Guard(erased(two, "r", 9), two.rev, release=("phone:1",)))))
    assert await database["changes"].count_documents({}) == 0
    assert await store.history("x") == []
    assert await store.owners(["phone:1"]) == {}
    assert (await judged(store, batch(entry(guard=Guard(changed(two, "C"), two.rev)))))[0] == {0}


async def test_what_was_not_acknowledged_is_found_in_order(store: IntakeStore) -> None:
    batches = [batch(entry(f"{at}-{number}"), at=at, number=number) for at, number in ((5, 2), (5, 1), (3, 9), (8, 1))]
    for one in batches:
        await store.begin(one)
    assert await store.pending(6) == [batches[2].id, batches[1].id, batches[0].id]
    await store.acknowledge(batches[1].id, {})
    assert await store.pending(6) == [batches[2].id, batches[0].id]
    assert await store.batch(batches[1].id) is None
    found = await store.batch(batches[0].id)
    assert found == batches[0]


async def test_a_destroyed_key_never_comes_back(database: Any, store: IntakeStore) -> None:
    vault = Vault(b"k" * 32, KeyRegister(store.database))
    sealed = await vault.seal("x", "e", "name", "Li")
    other = Vault(b"k" * 32, KeyRegister(store.database))
    assert await other.open_("x", sealed) == "Li"
    await vault.destroy("x")
    assert await Vault(b"k" * 32, KeyRegister(store.database)).open_("x", sealed) is ERASED
    with pytest.raises(KeyDestroyed):
        await vault.seal("x", "e", "name", "Li")


async def test_a_customer_whose_seal_is_broken_stops_nobody_else(store: IntakeStore) -> None:
    keys = KeyRegister(store.database)
    await Vault(b"o" * 32, keys).seal("x", "e", "name", "Li")
    await store.judge(batch(registration("x", "phone:1"), registration("y", "phone:2")))
    known = KnownKeys()
    writer = EntryWriter(store, Identities(store, known, tuple), known, Vault(b"k" * 32, keys))
    broken, sound = await writer.entries([complaint("x"), complaint("y")])
    assert isinstance(broken, Refusal)
    assert isinstance(sound, Entry)
    assert "canary" not in sound.lines[0].value


def complaint(customer_id: str) -> Offer:
    full = FeedbackReceived.event_type
    person = Person(customer_id)
    return Offer("e", "/s", full, 1, 1, person, {"kind": "complaint"}, {"text": "canary"})


async def test_imports_know_who_has_history_open(store: IntakeStore) -> None:
    register = ImportRegister(store.database)
    made = await register.add(Import(id="i", mode="history", name="n", started_at=1))
    assert await register.add(Import(id="i", mode="replay", name="n", started_at=2)) == made
    assert await register.open_bracket() is None
    assert await register.save(made.model_copy(update={"bracket": "i"}))
    assert not await register.save(made.model_copy(update={"accepted": 9}))
    opened = await register.open_bracket()
    assert opened is not None
    assert opened.id == "i"
    await register.close_bracket("i")
    assert await register.open_bracket() is None


async def test_a_receipt_keeps_the_first_answer_of_each_service(store: IntakeStore) -> None:
    receipts = ReceiptRegister(store.database)
    await receipts.add("r", "x", 1, ("segmentation", "followup"))
    await receipts.add("r", "x", 9, ())
    for at in (5, 7):
        await receipts.forgotten("r", "segmentation", at)
    found = await receipts.get("r")
    assert found is not None
    assert (found["requested_at"], found["forgotten"]) == (1, {"segmentation": 5})
