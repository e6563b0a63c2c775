"""The rules over HTTP: those in force as sentences, every version's text, and how far a change of rules is."""

from typing import Any

from fastapi import APIRouter

from services.segmentation.language.program import Program
from services.segmentation.rules_in_force import RulesInForce, standing
from shared.web.problems import Problem

Answer = dict[str, Any]


def add_routes(router: APIRouter, in_force: RulesInForce) -> None:
    @router.get("/rules")
    async def rules() -> Answer:
        """`versions`: the number that each partition is under."""
        newest = await in_force.newest()
        return {**described(newest.program), "number": newest.written.number, **standing(await in_force.all())}

    @router.get("/rules/{number}")
    async def version(number: int) -> Answer:
        """The whole file of one version, as it was activated or is being prepared."""
        for found in await in_force.all():
            if found.number == number:
                return {"number": number, "digest": found.digest, "rules": found.rules}
        raise Problem(404, "Unknown version", "GET /v1/rules names the versions that hold.")


def described(program: Program) -> Answer:
    """The rules in force as sentences, with the digest of the file they were read from."""
    written = program.rules
    dimensions = {
        dimension.name: {
            "note": written.dimensions[dimension.name].note,
            "values": list(dict.fromkeys(dimension.values)),
            "rules": reasons.rules,
        }
        for dimension, reasons in program.dimensions
    }
    composites = {composite.name: {"note": written.composites[composite.name].note} for composite in program.composites}
    file = written.model_dump(mode="json", include={"version", "base_currency", "limits"})
    return {**file, "digest": written.digest, "dimensions": dimensions, "composites": composites}
