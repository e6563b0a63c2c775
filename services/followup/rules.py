"""Playbooks as data: the models of `deploy/config/followup.yaml`."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints, model_validator

from services.followup.reasons import REASONS
from services.followup.state import ListSection, TaskState
from shared.config_files import Label, Part, expect_exactly, load

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Staff = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Days = Annotated[int, Field(ge=1, le=3_650)]


class Deadline(Part):
    """How long after due the promise still counts as kept: exactly one of the two."""

    business_minutes: Annotated[int, Field(ge=1, le=60_000)] | None = None
    business_days: Annotated[int, Field(ge=1, le=250)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Deadline":
        if (self.business_minutes is None) == (self.business_days is None):
            raise ValueError("expected exactly one of business_minutes and business_days")
        return self


class Playbook(Part):
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


class Rules(Part):
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
        expect_exactly("states", get_args(TaskState), self.states)
        expect_exactly("sections", get_args(ListSection), self.sections)
        expect_exactly("reasons", REASONS, self.reasons)
        return self

    def starting_with(self, start: str) -> tuple[tuple[str, Playbook], ...]:
        return tuple((name, playbook) for name, playbook in self.playbooks.items() if playbook.starts_with == start)

    @property
    def dimensions(self) -> frozenset[str]:
        """The dimensions of which the playbooks want to know the customer's value."""
        return frozenset(playbook.dimension for playbook in self.playbooks.values() if playbook.dimension)


def load_rules(path: Path) -> Rules:
    """Raises ConfigError."""
    return load(path, Rules)
