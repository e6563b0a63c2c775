"""What a receiver's answer means: delivered, again at a given instant, given up, or no more at all. Pure."""

from dataclasses import dataclass
from typing import Literal

from shared.clock import HOUR, MINUTE, SECOND, Instant

Outcome = Literal["delivered", "again", "given_up", "ended"]
Failure = Literal["timed_out", "not_connected", "broken_off", "address_refused"]

GONE = 410
BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Policy:
    """All in milliseconds. `waits`: before the first attempt, the second … (Standard Webhooks); there are no more.

    `spread`: by how much of itself a wait may be longer, so that receivers are not called all at once. `rest`: of a whole
    subscription whose receiver is busy and does not say for how long; `longest_rest`: how much it may ask for.
    """

    waits: tuple[Instant, ...] = (
        0,
        5 * SECOND,
        5 * MINUTE,
        30 * MINUTE,
        2 * HOUR,
        5 * HOUR,
        10 * HOUR,
        14 * HOUR,
        20 * HOUR,
        24 * HOUR,
    )
    spread: float = 0.1
    rest: Instant = 5 * SECOND
    longest_rest: Instant = HOUR


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` None: there was no answer, because of `failure`. `retry_after` in milliseconds, as the receiver asks."""

    status: int | None
    failure: Failure | None = None
    retry_after: Instant | None = None

    @property
    def told(self) -> str:
        """For metrics and operators."""
        return str(self.status) if self.status is not None else str(self.failure)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`at`: when it is tried again. `rest_until`: until then nothing is sent to this receiver."""

    outcome: Outcome
    at: Instant = 0
    rest_until: Instant = 0


def judge(answer: Answer, attempts: int, now: Instant, policy: Policy, chance: float) -> Verdict:
    """`attempts`: with this one. `chance`: 0 to 1. Redirections are failures like any other; nobody follows them."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Verdict("delivered")
    if answer.status == GONE:
        return Verdict("ended")
    rest_until = now + _rest(answer, policy) if answer.status in BUSY else 0
    if attempts >= len(policy.waits):
        return Verdict("given_up", rest_until=rest_until)
    wait = policy.waits[attempts]
    at = now + wait + round(wait * policy.spread * chance)
    return Verdict("again", max(at, rest_until), rest_until)


def _rest(answer: Answer, policy: Policy) -> Instant:
    wanted = policy.rest if answer.retry_after is None else answer.retry_after
    return max(0, min(wanted, policy.longest_rest))
