"""The client's side of an import: rows in chunks through intake's door, repeated until they are answered."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from services.intake.limits import LIMITS

Mode = Literal["history", "replay", "live"]
CHUNK = 500
CHUNK_BYTES = LIMITS.import_body // 2
"""More than one event may have in any script, so that a row which no chunk holds would be refused all the same."""
TOO_LARGE = "is larger or deeper than an event may be"
PATIENCE = 180.0
"""Seconds for which a chunk is repeated when intake does not answer."""


class ImportFailed(Exception):
    """The import stopped; running it again goes on where it stopped and adds nothing twice."""


@dataclass(frozen=True, slots=True)
class Refused:
    """`row`: the index of the row in what was given."""

    row: int
    field: str
    reason: str


@dataclass(slots=True)
class Outcome:
    import_id: str
    accepted: int = 0
    repeated: int = 0
    refused: list[Refused] = field(default_factory=list)
    status: str = "running"


Progress = Callable[[int, Mapping[str, Any]], None]
"""Called after each chunk with the number of its rows and its last event."""
Told = Callable[[Sequence[Refused]], None]
"""Called after each chunk with what was refused since the one before."""


@dataclass(frozen=True, slots=True)
class _Line:
    row: int
    event: Mapping[str, Any]
    text: bytes


async def import_events(
    client: httpx.AsyncClient,
    rows: Iterable[Mapping[str, Any]],
    mode: Mode,
    import_id: str,
    *,
    name: str = "import",
    hold: bool = False,
    chunk: int = CHUNK,
    progress: Progress | None = None,
    on_refused: Told = lambda _refused: None,
) -> Outcome:
    """Sends events (the shape of POST /v1/events, each with `id` and `time`) in the order of their times.

    `client` has intake's address as its base URL and an `admin` key in its headers. Safe to repeat with the same
    `import_id`. `hold` leaves the bracket of history open for a next import. Raises ImportFailed.
    """
    body = {"import_id": import_id, "mode": mode, "name": name}
    await _asked(client, "/v1/imports", json.dumps(body).encode(), "application/json")
    outcome = Outcome(import_id)
    told = 0
    for lines in _chunks(_lines(rows, outcome), chunk):
        await _send(client, import_id, lines, outcome)
        on_refused(outcome.refused[told:])
        told = len(outcome.refused)
        if progress is not None:
            progress(len(lines), lines[-1].event)
    on_refused(outcome.refused[told:])
    path = f"/v1/imports/{import_id}/end?hold={str(hold).lower()}"
    outcome.status = (await _asked(client, path, b"", "application/json"))["status"]
    return outcome


async def _send(client: httpx.AsyncClient, import_id: str, lines: list[_Line], outcome: Outcome) -> None:
    body = b"\n".join(line.text for line in lines)
    answer = await _asked(client, f"/v1/imports/{import_id}/rows", body, "application/x-ndjson")
    outcome.accepted += answer["accepted"]
    outcome.repeated += answer["repeated"]
    for refused in answer["refused"]:
        row = lines[refused["index"]].row
        outcome.refused += [Refused(row, field, reason) for field, reason in _reasons(refused["problem"])]


def _reasons(problem: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Field and reason of each error; a problem without errors has one, of no field."""
    errors = problem.get("errors") or [{"field": "", "reason": problem.get("detail") or problem["title"]}]
    return [(error["field"], error["reason"]) for error in errors]


async def _asked(client: httpx.AsyncClient, path: str, body: bytes, kind: str) -> dict[str, Any]:
    """Repeats what was not answered: a restarted intake recognises what it already has."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    pause = 0.2
    while True:
        why = await _try(client, path, body, kind)
        if isinstance(why, dict):
            return why
        if loop.time() > deadline:
            raise ImportFailed(f"intake does not answer ({why}); run the same import again to go on")
        await asyncio.sleep(pause)
        pause = min(pause * 2, 3.0)


async def _try(client: httpx.AsyncClient, path: str, body: bytes, kind: str) -> dict[str, Any] | str:
    """The answer, or why it is worth another try. Raises ImportFailed where it is not."""
    try:
        response = await client.post(path, content=body, headers={"content-type": kind}, timeout=30.0)
    except httpx.TransportError as error:
        return type(error).__name__
    if response.status_code >= 500:
        return f"status {response.status_code}"
    try:
        answer: dict[str, Any] = response.json()
    except ValueError:
        raise ImportFailed(f"what answered (status {response.status_code}) is not intake; is --url right?") from None
    if response.is_success:
        return answer
    raise ImportFailed(answer.get("detail") or answer.get("title") or f"status {response.status_code}")


def written(event: Mapping[str, Any]) -> bytes | None:
    """The event as one line of NDJSON; None where it is too large or too deep for any. What is no valid text stays so."""
    try:
        text = json.dumps(event, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
    except RecursionError:
        return None
    return text if len(text) < CHUNK_BYTES else None


def _lines(rows: Iterable[Mapping[str, Any]], outcome: Outcome) -> Iterator[_Line]:
    for row, event in enumerate(rows):
        text = written(event)
        if text is None:
            outcome.refused.append(Refused(row, "body", TOO_LARGE))
        else:
            yield _Line(row, event, text)


def _chunks(lines: Iterable[_Line], most: int) -> Iterator[list[_Line]]:
    chunk: list[_Line] = []
    size = 0
    for line in lines:
        if chunk and (len(chunk) == most or size + len(line.text) > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line.text) + 1
    if chunk:
        yield chunk
