"""Service levels, escalation, closing and labels as data: `deploy/config/feedback.yaml`."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from services.feedback.case import State, StepName
from services.feedback.ledger import DeadlineName
from services.feedback.reasons import REASONS, Reason
from shared.clock import DAY, HOUR, Instant
from shared.config_files import Label, Part, expect_exactly, load
from shared.events.fields import Severity

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""Lowest first."""


class ServiceLevel(Part):
    """Hours of business time."""

    acknowledge: Annotated[float, Field(gt=0)]
    resolve: Annotated[float, Field(gt=0)]
    label: Label

    def allowed(self, deadline: DeadlineName) -> int:
        """Milliseconds of business time."""
        return round((self.acknowledge if deadline == "acknowledge" else self.resolve) * HOUR)


class Raise(Part):
    """Either a composite that the customer is in, or a dimension whose value is one of `in`."""

    dimension: str | None = None
    values: tuple[str, ...] = Field(default=(), alias="in")
    composite: str | None = None
    to: Severity

    @model_validator(mode="after")
    def _one_condition(self) -> "Raise":
        if (self.composite is None) == (self.dimension is None):
            raise ValueError("either composite or dimension is expected")
        if self.dimension is not None and not self.values:
            raise ValueError("in: the values of the dimension are expected")
        return self


class WaitingReason(Part):
    pauses: bool
    label: Label


class EscalationStep(Part):
    to: str
    label: Label


class Survey(Part):
    requested: bool
    confirms_from: Annotated[int, Field(ge=1, le=5)]
    reopens_to: Annotated[int, Field(ge=1, le=5)]

    @model_validator(mode="after")
    def _apart(self) -> "Survey":
        if self.reopens_to >= self.confirms_from:
            raise ValueError("reopens_to below confirms_from is expected")
        return self


class Closing(Part):
    """Days of 24 hours."""

    after_resolution_days: Annotated[float, Field(gt=0)]
    after_confirmation_days: Annotated[float, Field(gt=0)]
    reopen_within_days: Annotated[float, Field(ge=0)]

    @property
    def after_resolution(self) -> Instant:
        return round(self.after_resolution_days * DAY)

    @property
    def after_confirmation(self) -> Instant:
        return round(self.after_confirmation_days * DAY)

    @property
    def reopen_within(self) -> Instant:
        return round(self.reopen_within_days * DAY)


class Labels(Part):
    states: dict[State, Label]
    kinds: dict[str, Label]
    steps: dict[StepName, Label]
    deadlines: dict[DeadlineName, Label]
    reasons: dict[Reason, Label]


class Rules(Part):
    version: str
    opens_case: Annotated[tuple[Literal["complaint", "suggestion", "praise", "question"], ...], Field(min_length=1)]
    severities: dict[Severity, ServiceLevel]
    raise_severity: tuple[Raise, ...] = ()
    waiting: Annotated[dict[str, WaitingReason], Field(min_length=1)]
    escalation: Annotated[tuple[EscalationStep, ...], Field(min_length=1)]
    survey: Survey
    closing: Closing
    closed_cases_kept: Annotated[int, Field(ge=1, le=500)]
    open_cases_limit: Annotated[int, Field(ge=1, le=500)]
    labels: Labels

    @model_validator(mode="after")
    def _complete(self) -> "Rules":
        expect_exactly("severities", SEVERITIES, self.severities)
        expect_exactly("labels.states", get_args(State), self.labels.states)
        expect_exactly("labels.steps", get_args(StepName), self.labels.steps)
        expect_exactly("labels.deadlines", get_args(DeadlineName), self.labels.deadlines)
        # Cases of a kind that opens none any more keep their label.
        expect_exactly("labels.kinds", {*self.opens_case, *self.labels.kinds}, self.labels.kinds)
        expect_exactly("labels.reasons", REASONS, self.labels.reasons)
        return self

    def allowed(self, deadline: DeadlineName, severity: Severity) -> int:
        """Milliseconds of business time."""
        return self.severities[severity].allowed(deadline)

    def severity_for(self, reported: Severity, memberships: dict[str, str], composites: tuple[str, ...]) -> Severity:
        """The reported one, or what the customer's segments make of it when that is higher."""
        raised = [r.to for r in self.raise_severity if _holds(r, memberships, composites)]
        return max((reported, *raised), key=SEVERITIES.index)


def _holds(rule: Raise, memberships: dict[str, str], composites: tuple[str, ...]) -> bool:
    if rule.composite is not None:
        return rule.composite in composites
    return memberships.get(rule.dimension or "") in rule.values


def load_rules(path: Path) -> Rules:
    """Raises ConfigError."""
    return load(path, Rules)
