"""API keys: who may call, with which scopes. Only hashes are kept; the key itself is shown once."""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import JSONResponse

from shared.clock import Instant, to_rfc3339, wall_clock
from shared.web.problems import RETRY, Problem, respond

_log = logging.getLogger(__name__)

Scope = Literal["emit", "staff", "read", "unseal", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_bearer = HTTPBearer(auto_error=False, description="An API key: gx_…")


class KeyFileError(Exception):
    """The file of keys is not what was written there; nobody is let in until it is again."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `name` is what the operator called the key, not a person's name."""

    key_id: str
    scopes: frozenset[str]
    name: str

    def may(self, scope: Scope) -> bool:
        """`admin` implies all but `unseal`: running the system is no reason to read personal data."""
        return scope in self.scopes or (scope != "unseal" and "admin" in self.scopes)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One line of the key file; `hash` is the SHA-256 of the whole key in hex, times are RFC 3339."""

    id: str
    hash: str
    scopes: tuple[str, ...]
    name: str
    created_at: str
    revoked_at: str | None = None


class KeyRing:
    """The keys of one installation, in one file, read again whenever the file changes. Every method raises KeyFileError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._records: dict[str, KeyRecord] = {}

    def principal(self, key: str) -> Principal | None:
        """None: unknown, altered or revoked."""
        parts = key.split("_", 2)
        record = self._current().get(parts[1]) if len(parts) == 3 else None
        if record is None or record.revoked_at or not hmac.compare_digest(record.hash, _hash(key)):
            return None
        return Principal(record.id, frozenset(record.scopes), record.name)

    def create(
        self, name: str, scopes: Collection[str], now: Callable[[], Instant] = wall_clock
    ) -> tuple[str, KeyRecord]:
        """The key in clear, for this one time, and what is kept of it. ValueError for an unknown scope or none."""
        if not scopes or not set(scopes) <= set(SCOPES):
            raise ValueError(f"scopes are {', '.join(SCOPES)}; at least one")
        key_id = secrets.token_hex(6)
        key = f"gx_{key_id}_{secrets.token_urlsafe(32)}"
        record = KeyRecord(key_id, _hash(key), tuple(sorted(scopes)), name, to_rfc3339(now()))
        with self._exclusively():
            self._write({**self._current(), key_id: record})
        return key, record

    def list(self) -> list[KeyRecord]:
        return sorted(self._current().values(), key=lambda record: record.created_at)

    def revoke(self, key_id: str, now: Callable[[], Instant] = wall_clock) -> KeyRecord:
        """At once for every process that reads this file. KeyError where there is no such key; twice is harmless."""
        with self._exclusively():
            records = dict(self._current())
            if records[key_id].revoked_at is None:
                records[key_id] = replace(records[key_id], revoked_at=to_rfc3339(now()))
                self._write(records)
        return records[key_id]

    def _current(self) -> dict[str, KeyRecord]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._seen, self._records = None, {}
            return self._records
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            self._records = _read(self._path)
            self._seen = seen
        return self._records

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Two command lines at once must not lose one another's key."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, records: dict[str, KeyRecord]) -> None:
        beside = self._path.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump([asdict(record) for record in records.values()], file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read(path: Path) -> dict[str, KeyRecord]:
    try:
        written = json.loads(path.read_text("utf-8"))
        records = [KeyRecord(**{**fields, "scopes": tuple(fields["scopes"])}) for fields in written]
    except (ValueError, TypeError, KeyError, OSError) as error:
        way_out = "put back a copy of it, or move it away and create all keys anew"
        raise KeyFileError(f"{path}: no readable file of keys ({type(error).__name__}); {way_out}") from None
    return {record.id: record for record in records}


async def on_broken_file(_request: Request, error: Exception) -> JSONResponse:
    """For KeyFileError: whoever asks can only try again, the operator reads the rest in the log."""
    _log.error("nobody can be let in", extra={"reason": str(error)})
    return respond(Problem(503, "Not available now", "The keys of this service cannot be read.", headers=RETRY))


def caller(request: Request) -> Principal:
    """Problem 401 without a valid key."""
    ring: KeyRing = request.app.state.ring
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    principal = ring.principal(key.strip()) if kind.lower() == "bearer" else None
    if principal is None:
        raise Problem(401, "A valid API key is required", headers={"WWW-Authenticate": "Bearer"})
    return principal


def requires(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    """A dependency: `Annotated[Principal, Depends(requires("read"))]`. 401 without a key, 403 without the scope."""

    async def check(
        request: Request, _documented: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Principal:
        principal = caller(request)
        if not principal.may(scope):
            raise Problem(403, "This key may not do that", f"The scope {scope} is required.")
        return principal

    return check
