"""Versions of segmentation's rules over HTTP: propose, show, activate through the log, withdraw."""

from collections.abc import Callable
from typing import Annotated, Any, Protocol

import yaml
from fastapi import APIRouter, Depends, Path, Response

from services.intake.batches import Accepted, Entry
from services.intake.contracts import Strict
from services.intake.processor import Answer
from services.intake.refusal import Refusal, Unavailable
from services.intake.rule_versions import LARGEST, Ledger, RuleVersion, activation, digest_of
from shared.clock import Clock, to_rfc3339
from shared.web.keys import Principal, requires

Administrator = Annotated[Principal, Depends(requires("admin"))]
Reader = Annotated[Principal, Depends(requires("read"))]
Number = Annotated[int, Path(ge=1, le=1_000_000)]
ATTEMPTS = 8


class RulesBody(Strict):
    """`rules`: the whole file, as it is to stand in the log."""

    rules: str


class Versions(Protocol):
    async def ledger(self) -> Ledger: ...

    async def save(self, ledger: Ledger) -> bool:
        """False where somebody else changed it meanwhile. `rev` of the argument is the one that it was read with."""

    async def keep(self, digest: str, text: str) -> None: ...

    async def text(self, digest: str) -> str | None: ...


class Submits(Protocol):
    async def submit(self, offers: list[Entry], /) -> list[Answer]: ...


class RulesDesk:
    """What the routes do, apart from HTTP. Every method raises Refusal."""

    def __init__(self, versions: Versions, intake: Submits, clock: Clock) -> None:
        self._versions = versions
        self._intake = intake
        self._clock = clock

    async def propose(self, text: str, by: str) -> tuple[RuleVersion, bool]:
        """The version of this text, and whether it is new. Its meaning is checked by `guanxi rules check`, not here."""
        _check(text)
        digest = digest_of(text)
        await self._versions.keep(digest, text)
        ledger, new = await self._changed(lambda ledger: ledger.proposed(digest, by, self._clock()))
        version = ledger.known(digest)
        assert version is not None  # noqa: S101 - it was proposed just now
        return version, new

    async def activate(self, number: int) -> tuple[RuleVersion, str | None]:
        """Acknowledged by every partition when it returns. Repeating it is harmless, also after an unknown outcome."""
        ledger = await self._change(lambda ledger: ledger.activating(number, self._clock()))
        version = ledger.get(number)
        text = await self._versions.text(version.digest)
        if text is None:
            raise Refusal(500, "The text is missing", "POST it to /v1/rules again.")
        (answer,) = await self._intake.submit([activation(version, text)])
        if not isinstance(answer, Accepted):
            raise answer
        ledger = await self._change(lambda ledger: ledger.activated(number))
        return ledger.get(number), answer.position

    async def withdraw(self, number: int) -> RuleVersion:
        return (await self._change(lambda ledger: ledger.withdrawn(number))).get(number)

    async def all(self) -> Ledger:
        return await self._versions.ledger()

    async def one(self, number: int) -> tuple[RuleVersion, str]:
        version = (await self._versions.ledger()).get(number)
        return version, await self._versions.text(version.digest) or ""

    async def _change(self, change: Callable[[Ledger], Ledger]) -> Ledger:
        return (await self._changed(change))[0]

    async def _changed(self, change: Callable[[Ledger], Ledger]) -> tuple[Ledger, bool]:
        """And whether it was this call that changed it."""
        for _ in range(ATTEMPTS):
            before = await self._versions.ledger()
            after = change(before)
            if after == before:
                return before, False
            if await self._versions.save(after):
                return after, True
        raise Unavailable("Others change the versions of the rules at the same time; repeat it.")


def _check(text: str) -> None:
    """Only that it is a YAML mapping of bounded size: intake does not know the language."""
    if len(text.encode()) > LARGEST:
        raise Refusal(413, "Too large", f"A rules file has at most {LARGEST} bytes.")
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        raise Refusal.of_field("rules", "is no YAML; `guanxi rules check` names the line") from None
    if not isinstance(read, dict) or "dimensions" not in read:
        raise Refusal.of_field("rules", "has no dimensions; `guanxi rules check` tells what is expected")


def build_router(desk: RulesDesk) -> APIRouter:
    router = APIRouter(prefix="/v1/rules", tags=["rules"])
    _add_reads(router, desk)
    _add_changes(router, desk)
    return router


def _add_reads(router: APIRouter, desk: RulesDesk) -> None:
    @router.get("")
    async def versions(_principal: Reader) -> dict[str, Any]:
        """All versions that were ever proposed, oldest first. Version 1, the file of the start, is segmentation's own."""
        return {"versions": [_shown(version) for version in (await desk.all()).versions]}

    @router.get("/{number}")
    async def version(number: Number, _principal: Reader) -> dict[str, Any]:
        """One version with its whole text."""
        found, text = await desk.one(number)
        return {**_shown(found), "rules": text}


def _add_changes(router: APIRouter, desk: RulesDesk) -> None:
    @router.post("", status_code=201)
    async def propose(body: RulesBody, principal: Administrator, response: Response) -> dict[str, Any]:
        """Gives the text its number: 201, or 200 where it has one. Nothing changes before it is activated."""
        version, new = await desk.propose(body.rules, principal.name)
        response.status_code = 201 if new else 200
        return _shown(version)

    @router.post("/{number}/activation")
    async def activate(number: Number, _principal: Administrator) -> dict[str, Any]:
        """Appends `rules.activated` to every partition; from that record on the partition is under these rules."""
        version, position = await desk.activate(number)
        return {**_shown(version), "position": position}

    @router.post("/{number}/withdrawal")
    async def withdraw(number: Number, _principal: Administrator) -> dict[str, Any]:
        """Calls a version off that was not activated; its number is not given again."""
        return _shown(await desk.withdraw(number))


def _shown(version: RuleVersion) -> dict[str, Any]:
    activated = version.activated_at
    return {
        "number": version.number,
        "state": version.state,
        "digest": version.digest,
        "by": version.by,
        "proposed_at": to_rfc3339(version.proposed_at),
        "activated_at": None if activated is None else to_rfc3339(activated),
    }
