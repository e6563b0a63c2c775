"""Every topic: who writes it, who reads it, how it is keyed, kept and typed.

Topics, groups, AsyncAPI, canvases and tests are made from it."""

from dataclasses import dataclass
from typing import Literal

from shared.clock import DAY, HOUR
from shared.events import customers as c
from shared.events import feedback as b
from shared.events import followups as f
from shared.events import segments as s
from shared.events import subscriptions as u
from shared.events import wakeups as w
from shared.events.envelope import Data

PARTITIONS = 12
SERVICES = ("intake", "segmentation", "followup", "feedback")
KEPT = -1
"""Retention for good, in Kafka's own notation."""


@dataclass(frozen=True, slots=True)
class Topic:
    """`retention` in milliseconds, KEPT for good. `key` says what the record key is."""

    name: str
    producer: str
    consumers: tuple[str, ...]
    types: tuple[type[Data], ...]
    retention: int = KEPT
    cleanup: Literal["delete", "compact"] = "delete"
    key: str = "customer_id"
    partitions: int = PARTITIONS

    @property
    def short(self) -> str:
        """`customers` for `guanxi.customers.v1`: how positions name it."""
        return self.name.removeprefix("guanxi.").rsplit(".v", 1)[0]

    @property
    def producers(self) -> tuple[str, ...]:
        return tuple(self.producer.split(", "))


TIME = (c.ClockTicked, c.HistoryBegan, c.HistoryEnded)

CUSTOMERS = Topic(
    "guanxi.customers.v1",
    "intake",
    ("segmentation", "followup", "feedback"),
    (
        c.CustomerRegistered,
        c.CustomerCorrected,
        c.CustomerAssigned,
        c.CustomerConsentChanged,
        c.CustomerObjected,
        c.CustomerObjectionWithdrawn,
        c.CustomerMerged,
        c.CustomerSplit,
        c.CustomerErased,
        c.InquiryReceived,
        c.PurchaseMade,
        c.PurchaseRefunded,
        c.OrderUpdated,
        c.CallEnded,
        c.MessageExchanged,
        c.VisitHeld,
        c.MeetingHeld,
        c.SurveyAnswered,
        c.FeedbackReceived,
        c.ServicePerformed,
        c.UsageReported,
        c.SignalObserved,
        c.OpportunityUpdated,
        c.ContactMade,
        c.TaskActedOn,
        c.CaseActedOn,
        c.CustomerResumeRequested,
        c.RulesActivated,
        *TIME,
    ),
)
SEGMENTS = Topic(
    "guanxi.segments.v1",
    "segmentation",
    ("followup", "feedback", "intake"),
    (s.SegmentsChanged, s.CustomerForgotten, *TIME),
)
SEGMENTS_LATEST = Topic("guanxi.segments.latest.v1", "segmentation", (), (s.SegmentsChanged,), cleanup="compact")
FOLLOWUPS = Topic(
    "guanxi.followups.v1",
    "followup",
    ("intake",),
    (
        f.FollowupScheduled,
        f.FollowupRescheduled,
        f.FollowupDue,
        f.FollowupCompleted,
        f.FollowupMissed,
        f.FollowupEscalated,
        f.FollowupCancelled,
        f.FollowupActionRefused,
        s.CustomerForgotten,
        *TIME,
    ),
)
FEEDBACK = Topic(
    "guanxi.feedback.v1",
    "feedback",
    ("followup", "intake"),
    (
        b.CaseOpened,
        b.CaseAcknowledged,
        b.CaseAssigned,
        b.CaseWaitingStarted,
        b.CaseWaitingEnded,
        b.CaseSeverityChanged,
        b.CaseResolved,
        b.CaseConfirmed,
        b.CaseReopened,
        b.CaseEscalated,
        b.CaseDeadlineMissed,
        b.CaseSurveyRequested,
        b.CaseClosed,
        b.CaseActionRefused,
        s.CustomerForgotten,
        *TIME,
    ),
)
SUBSCRIPTIONS = Topic(
    "guanxi.subscriptions.v1",
    "intake",
    (),
    (u.SubscriptionCreated, u.SubscriptionChanged, u.SubscriptionDeleted, u.SubscriptionReplayRequested),
    key="subscription_id",
)
WAKEUPS = Topic(
    "guanxi.wakeups.v1",
    "segmentation, followup, feedback",
    ("intake",),
    (w.ClockTickWanted,),
    retention=HOUR,
    key="none",
)


def dead_letters(service: str) -> Topic:
    """Where `service` puts, untouched, the bytes that it cannot decode."""
    return Topic(f"guanxi.{service}.dead-letters.v1", service, (), (), retention=90 * DAY, key="original")


TOPICS: tuple[Topic, ...] = (
    CUSTOMERS,
    SEGMENTS,
    SEGMENTS_LATEST,
    FOLLOWUPS,
    FEEDBACK,
    SUBSCRIPTIONS,
    WAKEUPS,
    *(dead_letters(service) for service in SERVICES),
)


@dataclass(frozen=True, slots=True)
class Follower:
    """Reads beside a service's engine, in a group of its own: what it reads is no input, so the engine never merges it."""

    service: str
    name: str
    topics: tuple[Topic, ...]

    @property
    def group(self) -> str:
        return f"{group_of(self.service)}.{self.name}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Full names, as readers take them."""
        return tuple(topic.name for topic in self.topics)


CHRONICLE = Follower("segmentation", "chronicle", (CUSTOMERS, SEGMENTS, SEGMENTS_LATEST))
"""Records the changes, the sizes and where a customer's records lie; keeps the compacted topic right."""

DELIVER = Follower("segmentation", "deliver", (SEGMENTS, SUBSCRIPTIONS))
"""Tells subscribers of changes by webhook."""

FOLLOWERS: tuple[Follower, ...] = (CHRONICLE, DELIVER)

OUTPUT = {"segmentation": SEGMENTS, "followup": FOLLOWUPS, "feedback": FEEDBACK}
"""The topic on which a service says what it decided."""


def topic(name: str) -> Topic:
    """By full or short name; KeyError where the catalogue has none."""
    for candidate in TOPICS:
        if name in (candidate.name, candidate.short):
            return candidate
    raise KeyError(name)


def inputs_of(service: str) -> tuple[Topic, ...]:
    """What a processing service merges, in the order that breaks ties; intake reads neighbours for receipts only."""
    found = [t for t in TOPICS if service in t.consumers]
    return tuple(sorted(found, key=lambda t: t.name))


def followed_by(service: str) -> tuple[Topic, ...]:
    """What a service's followers read, each topic once."""
    return tuple(dict.fromkeys(t for follower in FOLLOWERS if follower.service == service for t in follower.topics))


def group_of(service: str) -> str:
    return f"guanxi.{service}"
