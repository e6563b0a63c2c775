"""Playbooks as data: the models of `deploy/config/followup.yaml`."""

from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from services.followup.reasons import REASONS
from services.followup.state import ListSection, TaskState

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Staff = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Days = Annotated[int, Field(ge=1, le=3_650)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Label(Section):
    """What people read, in both languages."""

    en: Annotated[str, StringConstraints(min_length=1)]
    zh: Annotated[str, StringConstraints(min_length=1)]


class Deadline(Section):
    """How long after due the promise still counts as kept: exactly one of the two."""

    business_minutes: Annotated[int, Field(ge=1, le=60_000)] | None = None
    business_days: Annotated[int, Field(ge=1, le=250)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Deadline":
        if (self.business_minutes is None) == (self.business_days is None):
            raise ValueError("expected exactly one of business_minutes and business_days")
        return self


class Playbook(Section):
    """The meaning of each field is written at the top of the file."""

    label: Label
    starts_with: Literal["inquiry", "promise", "segment"]
    occurs: Literal["once", "again", "every"]
    channel: Code
    priority: Annotated[int, Field(ge=0, le=100)] = 0
    deadline: Deadline
    content_key: Code
    dimension: Code | None = None
    every_days: dict[Code, Days] = {}
    ended_by_contact: bool = False
    profiling: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "Playbook":
        regular = self.starts_with == "segment"
        if regular != (self.occurs == "every"):
            raise ValueError("occurs: every belongs to starts_with: segment, and only to it")
        if regular != (self.dimension is not None) or regular != bool(self.every_days):
            raise ValueError("dimension and every_days belong to starts_with: segment, and only to it")
        return self


class Rules(Section):
    version: str
    default_assignee: Staff
    escalate_to: Staff
    soon_days: Annotated[int, Field(ge=0, le=60)] = 7
    horizon_days: Days = 730
    keep_closed: Annotated[int, Field(ge=0, le=100)] = 10
    playbooks: Annotated[dict[Code, Playbook], Field(min_length=1)]
    contents: dict[Code, Label]
    states: dict[Code, Label]
    sections: dict[Code, Label]
    reasons: dict[Code, Label]

    @model_validator(mode="after")
    def _complete(self) -> "Rules":
        for name, playbook in self.playbooks.items():
            if playbook.content_key not in self.contents:
                raise ValueError(f"playbooks.{name}.content_key: contents has no {playbook.content_key!r}")
        _expect_exactly("states", get_args(TaskState), self.states)
        _expect_exactly("sections", get_args(ListSection), self.sections)
        _expect_exactly("reasons", REASONS, self.reasons)
        return self

    def starting_with(self, start: str) -> tuple[tuple[str, Playbook], ...]:
        return tuple((name, playbook) for name, playbook in self.playbooks.items() if playbook.starts_with == start)

    @property
    def dimensions(self) -> frozenset[str]:
        """The dimensions of which the playbooks want to know the customer's value."""
        return frozenset(playbook.dimension for playbook in self.playbooks.values() if playbook.dimension)


def _expect_exactly(place: str, codes: tuple[str, ...], given: dict[str, Label]) -> None:
    if wrong := sorted(set(codes) ^ set(given)):
        raise ValueError(f"{place}: expected exactly the codes that exist; missing or unknown: {', '.join(wrong)}")


def load_rules(path: Path) -> Rules:
    """ValueError that names the file, where in it, and what was expected."""
    try:
        return Rules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is no YAML: {error}") from error
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise ValueError(f"{path}: " + "; ".join(lines)) from error
