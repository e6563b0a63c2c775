"""Sealing: only in its place, only with its key, and after erasure a value instead of a crash."""

import asyncio
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events.fields import SealedText
from shared.privacy import (
    CACHE_SECONDS,
    ERASED,
    BlindIndex,
    BrokenSeal,
    KeyDestroyed,
    MemoryKeyStore,
    Secrets,
    Vault,
    normalise_email,
    normalise_phone,
)

KEY = bytes(range(32))
names = st.text(min_size=1, max_size=12)


@given(customer=names, event=names, field=names, text=st.text(max_size=200))
async def test_what_was_sealed_opens_in_its_place(customer: str, event: str, field: str, text: str) -> None:
    vault = Vault(KEY, MemoryKeyStore())
    sealed = await vault.seal(customer, event, field, text)
    assert await vault.open_(customer, sealed) == text


@given(places=st.lists(st.tuples(names, names, names), min_size=2, max_size=2, unique=True), text=st.text(max_size=50))
async def test_a_ciphertext_that_was_moved_does_not_open(places: list[tuple[str, str, str]], text: str) -> None:
    (customer, event, field), (to_customer, to_event, to_field) = places
    vault = Vault(KEY, MemoryKeyStore())
    await vault.seal(to_customer, to_event, to_field, "so that the other customer has a key too")
    sealed = await vault.seal(customer, event, field, text)
    moved = SealedText(field=to_field, event_id=to_event, ciphertext=sealed.ciphertext)
    with pytest.raises(BrokenSeal):
        await vault.open_(to_customer, moved)


@given(st.text(max_size=50), st.data())
async def test_any_altered_ciphertext_does_not_open(text: str, data: st.DataObject) -> None:
    vault = Vault(KEY, MemoryKeyStore())
    sealed = await vault.seal("c", "e", "f", text)
    at = data.draw(st.integers(0, len(sealed.ciphertext.rstrip("=")) - 2))
    other = data.draw(st.sampled_from("Aa0-_").filter(lambda c: c != sealed.ciphertext[at]))
    altered = sealed.ciphertext[:at] + other + sealed.ciphertext[at + 1 :]
    with pytest.raises(BrokenSeal):
        await vault.open_("c", sealed.model_copy(update={"ciphertext": altered}))


@given(st.text(max_size=30))
async def test_what_is_no_ciphertext_at_all_is_a_broken_seal(garbage: str) -> None:
    vault = Vault(KEY, MemoryKeyStore())
    await vault.seal("c", "e", "f", "")
    with pytest.raises(BrokenSeal):
        await vault.open_("c", SealedText(field="f", event_id="e", ciphertext=garbage))


async def test_equal_texts_never_look_equal() -> None:
    vault = Vault(KEY, MemoryKeyStore())
    assert len({(await vault.seal("c", "e", "f", "same")).ciphertext for _ in range(100)}) == 100


async def test_a_destroyed_key_makes_every_copy_erased_and_nothing_new_is_sealed() -> None:
    vault = Vault(KEY, MemoryKeyStore())
    sealed = await vault.seal("c", "e", "name", "Zhang Wei")
    other = await vault.seal("d", "e", "name", "Li Na")
    await vault.destroy("c")
    await vault.destroy("c")
    assert await vault.open_("c", sealed) is ERASED
    with pytest.raises(KeyDestroyed):
        await vault.seal("c", "e2", "name", "Zhang Wei again")
    assert await vault.open_("d", other) == "Li Na"


class SlowKeys(MemoryKeyStore):
    async def get(self, customer_id: str) -> bytes | None:
        found = await super().get(customer_id)
        await asyncio.sleep(0.01)
        return found


async def test_a_key_that_is_destroyed_while_it_is_read_is_not_remembered() -> None:
    keys = SlowKeys()
    sealed = await Vault(KEY, keys).seal("c", "e", "f", "text")
    vault = Vault(KEY, keys)
    reading = asyncio.create_task(vault.open_("c", sealed))
    await asyncio.sleep(0)
    await vault.destroy("c")
    await reading
    assert await vault.open_("c", sealed) is ERASED


async def test_another_process_forgets_a_destroyed_key_within_a_minute() -> None:
    keys, now = MemoryKeyStore(), [0.0]
    here, elsewhere = Vault(KEY, keys), Vault(KEY, keys, monotonic=lambda: now[0])
    sealed = await here.seal("c", "e", "f", "text")
    assert await elsewhere.open_("c", sealed) == "text"
    await here.destroy("c")
    now[0] = CACHE_SECONDS
    assert await elsewhere.open_("c", sealed) is ERASED


async def test_two_processes_at_once_use_one_key() -> None:
    keys = MemoryKeyStore()
    one, other = Vault(KEY, keys), Vault(KEY, keys)
    by_one = await one.seal("c", "e", "f", "from one")
    by_other = await other.seal("c", "e", "g", "from the other")
    assert await one.open_("c", by_other) == "from the other"
    assert await other.open_("c", by_one) == "from one"


async def test_the_data_key_is_kept_wrapped_and_another_wrapping_key_does_not_help() -> None:
    keys = MemoryKeyStore()
    sealed = await Vault(KEY, keys).seal("c", "e", "f", "text")
    with pytest.raises(BrokenSeal, match="key-encryption key"):
        await Vault(bytes(32), keys).open_("c", sealed)
    wrapped = await keys.get("c")
    assert wrapped is not None
    await keys.put_if_absent("d", wrapped)
    with pytest.raises(BrokenSeal):
        await Vault(KEY, keys).seal("d", "e", "f", "a key does not open under another customer either")


def test_secrets_are_readable_by_the_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path, secrets = tmp_path / "data" / "secrets.json", Secrets.generate()
    secrets.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Secrets.read(path) == secrets
    assert repr(secrets) == "Secrets()"
    with pytest.raises(FileExistsError):
        Secrets.generate().write(path)
    path.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        Secrets.read(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"key_encryption_key": "x", "blind_index_pepper": 1}'])
def test_wrong_secrets_are_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ValueError, match="expected JSON"):
        Secrets.read(path)
    path.write_text(json.dumps({"key_encryption_key": "aGk=", "blind_index_pepper": "aGk="}))
    with pytest.raises(ValueError, match="32 bytes"):
        Secrets.read(path)


@pytest.mark.parametrize(
    ("written", "region", "meant"),
    [
        ("138 0013 8000", "CN", "+8613800138000"),
        ("+86-138-0013-8000", "US", "+8613800138000"),
        ("0086 13800138000", "CN", "+8613800138000"),
        ("149 1234 5678", "CN", "+8614912345678"),  # a mobile whose prefix the library does not know
        ("１３８００１３８０００", "CN", "+8613800138000"),  # full-width digits, as Chinese forms send them
        ("(202) 456-1111", "US", "+12024561111"),
        ("010-6552 9988", "CN", "+861065529988"),
        ("0571 8888 1234", "CN", "+8657188881234"),
        ("19912345678", "CN", "+8619912345678"),
        ("400-810-6666", "CN", "+864008106666"),
        ("+852 9123 4567", "CN", "+85291234567"),
        ("+86 10 6552 9988 ext 101", "CN", "+861065529988;ext=101"),
    ],
)
def test_one_phone_has_one_form(written: str, region: str, meant: str) -> None:
    assert normalise_phone(written, region) == meant
    assert normalise_phone(meant, "DE") == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" Zhang.Wei@Example.COM ", "zhang.wei@example.com"),
        ("li@例子.中国", "li@xn--fsqu00a.xn--fiqs8s"),
        ("a＠b.cn", "a@b.cn"),  # the full-width sign
        ("Straße@x.com", "straße@x.com"),  # another mailbox than strasse@
        ("li@straße.de", "li@xn--strae-oqa.de"),  # and another domain than strasse.de
        ("o'neil+shop@mail.x.com", "o'neil+shop@mail.x.com"),
    ],
)
def test_one_email_has_one_form(written: str, meant: str) -> None:
    assert normalise_email(written) == meant
    assert normalise_email(meant) == meant


@pytest.mark.parametrize(
    ("written", "region"),
    [("82345678", "CN"), ("2345678", "CN"), ("+86 82345678", "CN"), ("1380013800", "CN"), ("555-1234", "US")],
)
def test_a_number_that_lacks_its_area_is_nobodys(written: str, region: str) -> None:
    """Every city has an 82345678: two strangers would be one customer."""
    with pytest.raises(ValueError, match=r"^is no phone number with its area code$"):
        normalise_phone(written, region)


@pytest.mark.parametrize("written", ["", "12", "call me", "+999 1", "a" * 300])
def test_what_is_no_phone_is_refused_without_being_repeated(written: str) -> None:
    with pytest.raises(ValueError, match=r"^is no phone number( with its area code)?$"):
        normalise_phone(written)


NO_EMAIL = ("", "a", "@b.cn", "a@b", "a b@c.cn", "a@b..cn", "a@@b.cn", "a@" + "b" * 64 + ".cn")
ODD_EMAIL = ("<li@x.com>", "Li <li@x.com>", "mailto:li@x.com", "a,b@c.cn", "a\0@b.cn", "a\u200b\u0085@b.cn")
ODD_DOMAIN = ("a@b.", "a@b.cn.", "a@-b.cn", "a@b_.cn", "a@b.c\0n", "a@b.c>n")


@pytest.mark.parametrize("written", NO_EMAIL + ODD_EMAIL + ODD_DOMAIN)
def test_what_is_no_email_is_refused_without_being_repeated(written: str) -> None:
    with pytest.raises(ValueError, match=r"^is no e-mail address$"):
        normalise_email(written)


def test_blind_indexes_depend_on_kind_value_and_pepper_and_hide_the_value() -> None:
    index = BlindIndex(b"p" * 32)
    found = index.of("phone", "+8613800138000")
    assert found == BlindIndex(b"p" * 32).of("phone", "+8613800138000")
    others = {
        index.of("email", "+8613800138000"),
        index.of("phone", "+8613800138001"),
        BlindIndex(b"q" * 32).of("phone", "+8613800138000"),
    }
    assert len(others | {found}) == 4
    assert len(found) == 64
