"""Intake's own settings as data: the country of bare phone numbers, and the fields that a company adds."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.config_files import Part, load


class CustomField(Part):
    """`personal`: travels sealed, so it must be text."""

    personal: bool = False


class Rules(Part):
    phone_region: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "CN"
    custom_fields: dict[str, CustomField] = {}


def load_rules(path: Path) -> Rules:
    """The defaults where there is no such file. Raises ConfigError."""
    return load(path, Rules) if path.exists() else Rules()
