"""Given events, when one more, then these: how the feedback tests speak to the real domain, rules and calendar."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from services.feedback.case import Case, case_id_of
from services.feedback.domain import FeedbackDomain, FeedbackState
from services.feedback.processor import build_domain
from services.feedback.rules import load_rules
from shared.clock import Instant, from_rfc3339, to_datetime
from shared.events.customers import CaseActedOn, CustomerErased, FeedbackReceived, SurveyAnswered
from shared.events.envelope import Data, Event
from shared.events.segments import SegmentsChanged

CONFIG = Path(__file__).parents[2] / "deploy" / "config"
CUSTOMER = "0b7c2f4e-8f1a-5c3d-9e2b-6a5d4c3b2a10"
SOURCE = "/tests"
MONDAY = from_rfc3339("2026-11-02T10:00:00+08:00")
"""A Monday of full business weeks in Shanghai, one hour after opening."""


@lru_cache
def domain() -> FeedbackDomain:
    return build_domain(CONFIG)


@lru_cache
def labelled() -> frozenset[str]:
    """The reasons that people can read in both languages."""
    rules = load_rules(CONFIG / "feedback.yaml")
    return frozenset({*rules.labels.reasons, *rules.labels.deadlines, *rules.severities, *rules.waiting})


class Story:
    """One customer's life: events in order, timers fired before each as the engine does, everything told kept."""

    def __init__(self, customer: str = CUSTOMER) -> None:
        self.domain = domain()
        self.customer = customer
        self.state: FeedbackState = self.domain.initial(customer)
        self.told: list[tuple[Instant, Data]] = []
        self.count = 0
        self.words: set[str | None] = set()

    def until(self, at: Instant) -> "Story":
        while (due := self.domain.wake_at(self.state)) is not None and due <= at:
            decision = self.domain.on_time(self.state, due)
            assert self.domain.on_time(self.state, due) == decision, "the same question has the same answer"
            moved = self.domain.wake_at(decision.state)
            assert moved is None or moved > due, "a timer that fired moves on"
            self._take(decision.state, decision.events, due)
        return self

    def send(self, at: Instant, data: Data, **marks: Any) -> tuple[Data, ...]:
        self.until(at)
        self.count += 1
        moment = to_datetime(at)
        given: dict[str, Any] = {"id": f"e{self.count}", "source": SOURCE, "time": moment, "recordedtime": moment}
        event = Event(**(given | marks), type=data.event_type, data=data)
        self.words.add(getattr(data, "cause", None))
        decision = self.domain.on_event(self.state, event, at)
        assert self.domain.on_event(self.state, event, at) == decision
        self._take(decision.state, decision.events, at)
        wake = self.domain.wake_at(self.state)
        assert wake is None or wake > at, "nothing due is left behind"
        return decision.events

    def complain(self, at: Instant = MONDAY, *, severity: Any = "normal", kind: Any = "complaint", **marks: Any) -> str:
        self.send(
            at, FeedbackReceived(customer_id=self.customer, kind=kind, severity=severity, category="delivery"), **marks
        )
        return case_id_of(SOURCE, marks.get("id", f"e{self.count}"))

    def act(self, at: Instant, case_id: str, action: Any, **fields: Any) -> list[str]:
        act = CaseActedOn(customer_id=self.customer, case_id=case_id, action=action, by="anna", **fields)
        return names(self.send(at, act))

    def answer(self, at: Instant, case_id: str, csat: int | None) -> list[str]:
        return names(self.send(at, SurveyAnswered(customer_id=self.customer, survey="s", csat=csat, case_id=case_id)))

    def segments(self, at: Instant, memberships: dict[str, Any], composites: tuple[str, ...] = ()) -> None:
        self.send(
            at,
            SegmentsChanged(
                customer_id=self.customer, changes=(), memberships=memberships, composites=composites, rules_version="1"
            ),
        )

    def erase(self, at: Instant) -> list[str]:
        return names(self.send(at, CustomerErased(customer_id=self.customer, receipt_id="r1")))

    def case(self, case_id: str) -> Case:
        case = self.state.case(case_id)
        assert case is not None
        return case

    def heard(self, name: str) -> list[tuple[Instant, Any]]:
        return [(at, data) for at, data in self.told if short(data) == name]

    def _take(self, state: FeedbackState, events: tuple[Data, ...], at: Instant) -> None:
        text = state.model_dump_json(exclude_defaults=True)
        self.state = FeedbackState.model_validate_json(text)
        assert self.state == state, "the state reads back as it was written"
        assert {getattr(event, "reason", None) for event in events} - {None, *self.words} <= labelled()
        spans = [span for case in state.cases for deadline in case.deadlines for span in deadline.spans]
        assert {span.reason for span in spans} <= labelled()
        self.told += [(at, event) for event in events]


def short(data: Data) -> str:
    return data.event_type.removeprefix("guanxi.").removesuffix(".v1")


def names(events: tuple[Data, ...]) -> list[str]:
    return [short(event) for event in events]
