"""What is published on `guanxi.customers.v1`: customer facts, interactions, staff actions, and the marks of time."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shared.events.envelope import Data
from shared.events.fields import Channel, Consent, CustomerId, Model, Money, SealedText, Severity, UtcDateTime

Direction = Literal["inbound", "outbound"]
SealedFields = dict[str, SealedText]


class ExternalId(Model):
    system: str
    id: str


class Birthday(Model):
    """Month and day without the year: enough for a greeting, too little to identify."""

    month: Annotated[int, Field(ge=1, le=12)]
    day: Annotated[int, Field(ge=1, le=31)]
    calendar: Literal["solar", "lunar"] = "solar"


class Facets(Model):
    """What the services may know of a customer without knowing who it is."""

    region: str | None = None
    country: str | None = None
    language: str | None = None
    timezone: str | None = None
    age_band: str | None = None
    gender: str | None = None
    birthday: Birthday | None = None
    industry: str | None = None
    company_size: str | None = None
    interests: tuple[str, ...] = ()


class OfCustomer(Data):
    """Every event of a customer names it in its data too, so that the data stands alone."""

    customer_id: CustomerId


class CustomerRegistered(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.registered.v1"
    external_ids: tuple[ExternalId, ...] = ()
    facets: Facets = Facets()
    tags: tuple[str, ...] = ()
    owner: str | None = None
    channel: Channel | None = None
    consents: dict[str, Consent] = {}
    custom: dict[str, Any] = {}
    sealed: SealedFields = {}


class FieldChange(Model):
    """`from` and `to` are values, or sealed values where the field is personal."""

    from_: Any = Field(default=None, alias="from")
    to: Any = None


class CustomerCorrected(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.corrected.v1"
    changes: dict[str, FieldChange]
    by: str | None = None
    reason: str | None = None


class CustomerAssigned(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.assigned.v1"
    owner: str | None = None
    by: str | None = None


class CustomerConsentChanged(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.consent_changed.v1"
    channel: Channel
    consent: Consent
    by: str | None = None
    evidence: str | None = None


class CustomerObjected(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.objected.v1"
    by: str | None = None


class CustomerObjectionWithdrawn(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.objection_withdrawn.v1"
    by: str | None = None


class CustomerMerged(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.merged.v1"
    into: CustomerId
    from_id: CustomerId


class CustomerSplit(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.split.v1"
    into: CustomerId
    from_id: CustomerId


class CustomerErased(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.erased.v1"
    receipt_id: str
    reason: str | None = None


class InquiryReceived(OfCustomer):
    event_type: ClassVar[str] = "guanxi.inquiry.received.v1"
    channel: Channel | None = None
    about: str | None = None
    needs: tuple[str, ...] = ()
    budget: Money | None = None
    usage_scenario: str | None = None
    sealed: SealedFields = {}


class Item(Model):
    sku: str | None = None
    category: str | None = None
    quantity: Decimal = Decimal(1)
    amount: Money | None = None


class PurchaseMade(OfCustomer):
    event_type: ClassVar[str] = "guanxi.purchase.made.v1"
    order_id: str | None = None
    amount: Money
    items: tuple[Item, ...] = ()
    category: str | None = None
    channel: Channel | None = None


class PurchaseRefunded(OfCustomer):
    event_type: ClassVar[str] = "guanxi.purchase.refunded.v1"
    order_id: str | None = None
    amount: Money
    reason: str | None = None


class OrderUpdated(OfCustomer):
    event_type: ClassVar[str] = "guanxi.order.updated.v1"
    order_id: str
    state: Literal["placed", "paid", "shipped", "delivered", "returned", "cancelled"]
    expected_at: UtcDateTime | None = None


class CallEnded(OfCustomer):
    event_type: ClassVar[str] = "guanxi.call.ended.v1"
    direction: Direction
    outcome: Literal["answered", "no_answer", "busy", "failed", "voicemail"]
    duration_seconds: Annotated[int, Field(ge=0)] | None = None
    agent: str | None = None
    call_id: str | None = None
    sealed: SealedFields = {}
    next_contact_at: UtcDateTime | None = None


class MessageExchanged(OfCustomer):
    event_type: ClassVar[str] = "guanxi.message.exchanged.v1"
    direction: Direction
    channel: Channel
    opened: bool | None = None
    clicked: bool | None = None
    sealed: SealedFields = {}


class VisitHeld(OfCustomer):
    event_type: ClassVar[str] = "guanxi.visit.held.v1"
    by: str | None = None
    participants: tuple[str, ...] = ()
    next_contact_at: UtcDateTime | None = None
    sealed: SealedFields = {}


class MeetingHeld(VisitHeld):
    event_type: ClassVar[str] = "guanxi.meeting.held.v1"


class SurveyAnswered(OfCustomer):
    event_type: ClassVar[str] = "guanxi.survey.answered.v1"
    survey: str
    answers: dict[str, Any] = {}
    nps: Annotated[int, Field(ge=0, le=10)] | None = None
    csat: Annotated[int, Field(ge=1, le=5)] | None = None
    needs: tuple[str, ...] = ()
    preferences: tuple[str, ...] = ()
    case_id: str | None = None


class FeedbackReceived(OfCustomer):
    event_type: ClassVar[str] = "guanxi.feedback.received.v1"
    kind: Literal["complaint", "suggestion", "praise", "question"]
    severity: Severity = "normal"
    channel: Channel | None = None
    category: str | None = None
    product: str | None = None
    sealed: SealedFields = {}


class ServicePerformed(OfCustomer):
    event_type: ClassVar[str] = "guanxi.service.performed.v1"
    by: str | None = None
    category: str | None = None
    satisfaction: Annotated[int, Field(ge=1, le=5)] | None = None
    sealed: SealedFields = {}


class UsageReported(OfCustomer):
    event_type: ClassVar[str] = "guanxi.usage.reported.v1"
    name: str
    amount: Decimal = Decimal(1)


class SignalObserved(UsageReported):
    event_type: ClassVar[str] = "guanxi.signal.observed.v1"


class OpportunityUpdated(OfCustomer):
    event_type: ClassVar[str] = "guanxi.opportunity.updated.v1"
    opportunity_id: str
    stage: str | None = None
    probability: Annotated[Decimal, Field(ge=0, le=1)] | None = None
    budget: Money | None = None
    expected_close_on: date | None = None
    status: Literal["open", "won", "lost"] | None = None


class ContactMade(OfCustomer):
    event_type: ClassVar[str] = "guanxi.contact.made.v1"
    by: str
    task_id: str | None = None
    channel: Channel | None = None
    outcome: str | None = None
    next_contact_at: UtcDateTime | None = None
    sealed: SealedFields = {}


class TaskActedOn(OfCustomer):
    event_type: ClassVar[str] = "guanxi.task.acted_on.v1"
    task_id: str
    action: Literal["complete", "reschedule", "skip", "claim", "assign"]
    by: str
    until: UtcDateTime | None = None
    to: str | None = None
    reason: str | None = None


class CaseActedOn(OfCustomer):
    event_type: ClassVar[str] = "guanxi.case.acted_on.v1"
    case_id: str
    action: Literal[
        "acknowledge",
        "assign",
        "set_severity",
        "wait",
        "resume",
        "resolve",
        "confirm",
        "reopen",
        "escalate",
        "close",
        "note",
    ]
    by: str
    to: str | None = None
    cause: str | None = None
    measure: str | None = None
    sealed: SealedFields = {}


class CustomerResumeRequested(OfCustomer):
    event_type: ClassVar[str] = "guanxi.customer.resume_requested.v1"
    service: str


class ClockTicked(Data):
    """Moves a partition's time to this event's `recordedtime`; concerns no customer."""

    event_type: ClassVar[str] = "guanxi.clock.ticked.v1"


class HistoryBegan(Data):
    event_type: ClassVar[str] = "guanxi.history.began.v1"
    import_id: str


class HistoryEnded(Data):
    event_type: ClassVar[str] = "guanxi.history.ended.v1"
    import_id: str


class RulesActivated(Data):
    """From this record on, its partition is segmented under other rules; concerns no customer, and no other service.

    `number` rises with every activation; `rules`: the whole file; `digest`: SHA-256 of its UTF-8 bytes, in hex.
    """

    event_type: ClassVar[str] = "guanxi.rules.activated.v1"
    number: int
    rules: str
    digest: str
