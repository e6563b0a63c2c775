"""API keys: shown once, kept as hashes, effective and revoked at once in every process."""

import json
import stat
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.intake.__main__ import app
from shared.web.keys import SCOPES, KeyFileError, KeyRing, Principal


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "data" / "keys.json")


def test_a_created_key_opens_and_only_its_hash_is_kept(ring: KeyRing, tmp_path: Path) -> None:
    key, record = ring.create("till 3", ["emit"], now=lambda: 0)
    principal = ring.principal(key)
    assert principal == Principal(record.id, frozenset({"emit"}), "till 3")
    file = tmp_path / "data" / "keys.json"
    assert key.split("_", 2)[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())[0]["created_at"] == "1970-01-01T00:00:00.000Z"


def test_altered_unknown_and_malformed_keys_do_not_open(ring: KeyRing) -> None:
    key, record = ring.create("a", ["read"])
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), f"gx_{record.id}_", f"gx_{record.id}", "", "gx_0_0"):
        assert ring.principal(wrong) is None


def test_creation_and_revocation_are_seen_by_another_reader_of_the_file(ring: KeyRing, tmp_path: Path) -> None:
    other = KeyRing(tmp_path / "data" / "keys.json")
    key, record = ring.create("a", ["read"])
    assert other.principal(key)
    ring.revoke(record.id, now=lambda: 1_000)
    assert other.principal(key) is None
    again = ring.revoke(record.id, now=lambda: 2_000)
    assert again.revoked_at == "1970-01-01T00:00:01.000Z"
    assert [r.id for r in other.list()] == [record.id]


def test_revoking_what_is_not_there_and_scopes_that_are_none(ring: KeyRing) -> None:
    with pytest.raises(KeyError):
        ring.revoke("0")
    for scopes in ([], ["everything"]):
        with pytest.raises(ValueError, match="scopes are"):
            ring.create("a", scopes)


def test_two_command_lines_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    threads = [threading.Thread(target=lambda: KeyRing(path).create("a", ["read"])) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(KeyRing(path).list()) == 12


def test_admin_implies_all_but_unseal() -> None:
    admin = Principal("1", frozenset({"admin"}), "ops")
    assert {scope for scope in SCOPES if admin.may(scope)} == set(SCOPES) - {"unseal"}
    reader = Principal("2", frozenset({"read"}), "wall display")
    assert [scope for scope in SCOPES if reader.may(scope)] == ["read"]


@pytest.mark.parametrize("text", ["", "[{", "{}x", "7", '[{"id": "a"}]', '[{"scopes": []}]', "\x00"])
@pytest.mark.parametrize("command", [("list",), ("revoke", "a"), ("create", "till", "--scope", "emit")])
def test_a_broken_file_is_named_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, command: tuple[str, ...]
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    monkeypatch.setenv("GUANXI_KEYS_FILE", str(file))
    told = CliRunner().invoke(app, ["keys", *command])
    assert (told.exit_code, f"failed: {file}: no readable file of keys" in told.stderr) == (1, True)
    assert file.read_text() == text


def test_nobody_is_let_in_by_a_broken_file(ring: KeyRing, tmp_path: Path) -> None:
    key, _ = ring.create("a", ["read"])
    assert ring.principal(key)
    (tmp_path / "data" / "keys.json").write_text("[")
    for _ in range(2):
        with pytest.raises(KeyFileError):
            ring.principal(key)
