"""Imports over HTTP: begin, send rows in chunks, end; progress and refused rows."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from services.intake.answering import problem, sender_of
from services.intake.contracts import Strict
from services.intake.imports import Imports
from services.intake.limits import LIMITS, Limits
from services.intake.refusal import Refusal
from services.intake.registers import Import
from services.intake.shapes import read
from shared.clock import to_rfc3339
from shared.web.keys import Principal, requires

ImportId = Annotated[str, Path(min_length=1, max_length=128)]
CHUNK = Limits(batch=2_000)

_NAMED = Annotated[str, Field(min_length=1, max_length=128)]


class ImportBody(Strict):
    """`import_id`: chosen by the client (made from the file), so that a resumed run finds its import again."""

    import_id: _NAMED
    mode: Literal["history", "replay", "live"] = "live"
    name: _NAMED = "import"


Administrator = Annotated[Principal, Depends(requires("admin"))]


def build_router(imports: Imports) -> APIRouter:
    router = APIRouter(prefix="/v1/imports", tags=["imports"])

    @router.post("", status_code=201)
    async def begin(body: ImportBody, _principal: Administrator) -> dict[str, Any]:
        """Begins an import, or says how far it came. While one writes history no other can."""
        return _shown(await imports.begin(body.import_id, body.mode, body.name))

    @router.post("/{import_id}/rows", openapi_extra=_ROWS)
    async def rows(import_id: ImportId, request: Request, principal: Administrator) -> dict[str, Any]:
        """One chunk of events as NDJSON, in the order of their times. Each needs an id; a `line` beside it, its place in
        the client's file, names it if it is refused. Sending a chunk again adds nothing."""
        body = await request.body()
        arrived = read(body, {"content-type": "application/x-ndjson"}, CHUNK)
        result = await imports.rows(import_id, arrived.documents, sender_of(principal), body)
        refused = [{"index": index, **_reasons(why)} for index, why in result.refused]
        return {"accepted": result.accepted, "repeated": result.repeated, "refused": refused}

    @router.post("/{import_id}/end")
    async def end(
        import_id: ImportId, _principal: Administrator, hold: Annotated[bool, Query()] = False
    ) -> dict[str, Any]:
        """Closes the bracket of history; with `hold` leaves it open for a next import."""
        return _shown(await imports.end(import_id, hold=hold))

    @router.get("/{import_id}")
    async def show(import_id: ImportId, _principal: Administrator) -> dict[str, Any]:
        """How far it came, and which rows were refused since it last began, the first thousand with their reasons."""
        return _shown(await imports.get(import_id))

    return router


_ROWS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-ndjson": {"schema": {"type": "string", "maxLength": LIMITS.import_body}}},
    }
}


def _reasons(refusal: Refusal) -> dict[str, Any]:
    return {"problem": problem(refusal).body()}


def _shown(found: Import) -> dict[str, Any]:
    return {
        "import_id": found.id,
        "mode": found.mode,
        "name": found.name,
        "status": found.status,
        "started_at": to_rfc3339(found.started_at),
        "last_at": to_rfc3339(found.last_at) if found.last_at is not None else None,
        "rows": found.rows,
        "accepted": found.accepted,
        "repeated": found.repeated,
        "refused": found.refused,
        "rejected": [row.model_dump() for row in found.rejected],
    }
