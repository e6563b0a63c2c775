"""Intake's own settings as data: the country of bare phone numbers, and the fields that a company adds."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class CustomField(BaseModel):
    """`personal`: travels sealed, so it must be text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    personal: bool = False


class Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    phone_region: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "CN"
    custom_fields: dict[str, CustomField] = {}


class RulesError(Exception):
    """Names the file, the path inside it and what was expected."""


def load_rules(path: Path) -> Rules:
    """The defaults where there is no such file. Raises RulesError."""
    if not path.exists():
        return Rules()
    try:
        return Rules.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})
    except yaml.YAMLError as error:
        raise RulesError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RulesError(f"{path}: {wrong}") from None
