"""What a service gives to the engine: a pure domain over one customer's state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from shared.clock import Instant
from shared.events.customers import RulesActivated
from shared.events.envelope import Data, Event

S = TypeVar("S", bound=BaseModel)

EMPTY_VIEW: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """The customer's next state, and what is to be told to the world, in this order. `given_up`: how many events the state
    no longer holds singly, to stay within its limits."""

    state: S
    events: tuple[Data, ...] = ()
    given_up: int = 0


class Domain(Protocol[S]):
    """Pure: reads no clock, draws no random number, changes no argument. `at` is the customer's logical time.

    An exception parks the customer; an action that cannot be is not an exception but an event that says so.
    """

    service: str
    state_type: type[S]

    def initial(self, customer_id: str) -> S:
        """The state of a customer of whom nothing is known."""

    def on_event(self, state: S, event: Event, at: Instant) -> Decision[S]:
        """`event.occurred_at` is when it happened; `event.history` and `event.replay` say that it was imported.

        Erasure comes here too (`customer.erased`): what it emits is published, the state that it returns is dropped.
        """

    def on_time(self, state: S, at: Instant) -> Decision[S]:
        """Called when `wake_at` has come, with `at` equal to it. Must move or clear `wake_at`."""

    def wake_at(self, state: S) -> Instant | None:
        """When time alone will next change something; None: never."""

    def view(self, state: S) -> Mapping[str, Any]:
        """What is kept beside the state as real fields (under `view`), because somebody queries by it. JSON values only."""


@runtime_checkable
class Successive(Domain[S], Protocol[S]):
    """A domain that another version of it succeeds at a record of the log. All versions share one `state_type`.

    The state of a customer is always what the whole log gives under one version alone, never a mixture.
    """

    written: RulesActivated
    """What this version was made of."""

    def succeeded_by(self, written: RulesActivated) -> "Successive[S]":
        """FatalError where the text cannot be used by this code; its message says what to do."""

    def difference(self, before: S | None, after: S, at: Instant, reason: str) -> Data | None:
        """What to tell the world when `after` (of this version) takes the place of `before` (of another); None: nothing."""


FIRST_VERSION = 1


def version_of(domain: Domain[Any]) -> int:
    """The number that documents name; a domain that is never succeeded is of the first version for ever."""
    written: RulesActivated | None = getattr(domain, "written", None)
    return FIRST_VERSION if written is None else written.number


def successor(domain: Domain[Any], event: Event | None) -> RulesActivated | None:
    """What succeeds the domain at this record; None: the record means nothing to it (older, repeated, of other services)."""
    data = event.data if event is not None else None
    if not isinstance(data, RulesActivated) or not isinstance(domain, Successive):
        return None
    return data if data.number > version_of(domain) else None
