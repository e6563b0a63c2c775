"""Configuration as YAML files: read into models, or refused with the file, the place in it and what was expected there."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

NOT_UTF_8 = "not UTF-8; convert it first, say with: iconv -f GB18030 -t UTF-8"
M = TypeVar("M", bound=BaseModel)


class ConfigError(ValueError):
    """The file cannot be used; the message says where and why."""


class Part(BaseModel):
    """Unknown keys are refused: a misspelt setting must not look as if it held."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Label(Part):
    """What people read, in both languages."""

    en: Annotated[str, StringConstraints(min_length=1)]
    zh: Annotated[str, StringConstraints(min_length=1)]


def load(path: Path, model: type[M]) -> M:
    """An empty file is one in which nothing is set. Raises ConfigError."""
    document = _read(path)
    try:
        return model.model_validate({} if document is None else document)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors(include_url=False))
        raise ConfigError(f"{path}: {'; '.join(wrong)}") from None


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: {NOT_UTF_8}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None


def expect_exactly(place: str, names: Collection[str], given: Mapping[Any, Any]) -> None:
    """For validators of models: raises ValueError."""
    if wrong := sorted(set(names) ^ set(given)):
        raise ValueError(f"{place}: expected exactly the names that exist; missing or unknown: {', '.join(wrong)}")
