"""One open load over HTTP: known customers, a mix of events, some sent twice; each command is ok, failed or unknown."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal
from uuid import UUID

import httpx

SOURCE = "urn:guanxi:fault-test"
Outcome = Literal["ok", "failed", "unknown"]
WAIT = 15.0
"""Seconds for one answer; intake itself says `unknown` after ten."""
PATIENCE = 240.0
"""Seconds for all answers to be known: after an outage a slow machine has a queue of them."""
BUSY = 60
PACE = 15
"""So many customers are busy at a time; after so many commands the oldest makes room for the next, who has all to come."""
AT_ONCE = 60
"""Requests under way at most, so that an outage does not become a flood."""
REPEAT_EVERY = 20
"""Of so many commands one is sent again: by count and not by chance, so that a slow machine repeats its share too."""


@dataclass(slots=True)
class Command:
    id: str
    customer: str
    type: str
    document: dict[str, Any]
    outcome: Outcome = "failed"
    complaint: bool = False


@dataclass(slots=True)
class Load:
    """`rate` in commands per second. `where` tells intake's address at this moment."""

    where: Callable[[], str]
    key: str
    rate: float = 35.0
    seed: int = 11
    commands: dict[str, Command] = field(default_factory=dict)
    customers: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Answers that must never come: refusals of what is right, other answers to repeats."""
    repeats: int = 0
    last_ok: float = field(default_factory=time.monotonic)
    longest_silence: float = 0.0
    _doubtful: deque[Command] = field(default_factory=deque)
    _going: bool = False
    _under_way: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None
    _client: httpx.AsyncClient | None = None
    _driving: "Future[Any] | None" = None

    def start(self, customers: int) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._call(self._prepare(customers)).result(PATIENCE)
        self._driving = self._call(self._drive())
        self.resume()

    def stop(self) -> None:
        if self._driving is not None:
            self._driving.cancel()
        if self._client is not None:
            self._call(self._client.aclose()).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join()
        self._loop.close()

    def pause(self) -> None:
        """Returns when every command has its answer and every unknown one was asked about once more."""
        self._going = False
        deadline = time.monotonic() + PATIENCE
        while self._under_way or self.counts()["unknown"]:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self._under_way} commands under way, {self.counts()} after {PATIENCE:.0f} s")
            time.sleep(0.05)

    def resume(self) -> None:
        self.last_ok, self.longest_silence = time.monotonic(), 0.0
        self._going = True

    def silence(self) -> float:
        """The longest time without an ok since `resume`, seconds."""
        return max(self.longest_silence, time.monotonic() - self.last_ok)

    def counts(self) -> dict[Outcome, int]:
        found: dict[Outcome, int] = {"ok": 0, "failed": 0, "unknown": 0}
        for command in list(self.commands.values()):
            found[command.outcome] += 1
        return found

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request of the test's own, repeated until intake answers."""
        return self._call(self._ask(method, path, body)).result(PATIENCE)

    def _call(self, work: Any) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _prepare(self, customers: int) -> None:
        limits = httpx.Limits(max_connections=AT_ONCE + 10)
        self._client = httpx.AsyncClient(timeout=WAIT, limits=limits, headers={"authorization": f"Bearer {self.key}"})
        first = [
            {
                "type": "usage.reported",
                "id": f"first-{number}",
                "source": SOURCE,
                "customer": {"external_id": {"system": "fault-test", "id": f"c{number}"}, "timezone": "Asia/Shanghai"},
                "data": {"name": "arrival"},
            }
            for number in range(customers)
        ]
        self.customers = [answer["customer_id"] for answer in await self._ask("POST", "/v1/events", first)]
        for document, customer in zip(first, self.customers, strict=True):
            command = Command(document["id"], customer, document["type"], document, "ok")
            self.commands[command.id] = command

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        assert self._client is not None
        for _ in range(60):
            try:
                answer = await self._client.request(method, self.where() + path, json=body)
                if answer.status_code < 500:
                    answer.raise_for_status()
                    return answer.json()
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.5)
        raise AssertionError(f"intake does not answer {method} {path}")

    async def _drive(self) -> None:
        chance = Random(self.seed)
        sent: list[Command] = []
        due = self._loop.time()
        tasks: set[asyncio.Task[None]] = set()
        while True:
            due = max(due + 1 / self.rate, self._loop.time() - 1)
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            command = self._next(chance, sent)
            if command is not None:
                self._under_way += 1
                task = asyncio.create_task(self._send(command))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    def _next(self, chance: Random, sent: list[Command]) -> Command | None:
        """What was in doubt first, then repeats of what is known, then something new."""
        if self._under_way >= AT_ONCE:
            return None
        if self._doubtful and (not self._going or chance.random() < 0.3):
            return self._doubtful.popleft()
        if not self._going:
            return None
        if len(sent) >= REPEAT_EVERY * (self.repeats + 1):
            self.repeats += 1
            return sent[chance.randrange(max(0, len(sent) - 200), len(sent))]
        command = self._made(chance)
        sent.append(command)
        self.commands[command.id] = command
        return command

    def _made(self, chance: Random) -> Command:
        name = str(UUID(int=chance.getrandbits(128)))
        first = len(self.commands) // PACE
        customer = self.customers[(first + chance.randrange(BUSY)) % len(self.customers)]
        kind, data = _something(chance, name)
        document = {"type": kind, "id": name, "source": SOURCE, "customer": {"id": customer}, "data": data}
        return Command(name, customer, kind, document, complaint=data.get("kind") == "complaint")

    async def _send(self, command: Command) -> None:
        assert self._client is not None
        try:
            answer = await self._client.post(f"{self.where()}/v1/events", json=command.document)
            outcome: Outcome = (
                "ok" if answer.status_code == 202 else "unknown" if answer.status_code >= 500 else "failed"
            )
            self._judge(command, answer)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            outcome = "failed"
        except httpx.TransportError:
            outcome = "unknown"
        finally:
            self._under_way -= 1
        if outcome == "ok":
            now = time.monotonic()
            self.longest_silence, self.last_ok = max(self.longest_silence, now - self.last_ok), now
        if command.outcome != "ok":
            self._learn(command, outcome)

    def _learn(self, command: Command, outcome: Outcome) -> None:
        """Once unknown, only an ok makes it known: a later refusal to connect says nothing of the first attempt."""
        command.outcome = "unknown" if command.outcome == "unknown" and outcome == "failed" else outcome
        if command.outcome == "unknown":
            self._loop.call_later(1.0, self._doubtful.append, command)

    def _judge(self, command: Command, answer: httpx.Response) -> None:
        if answer.status_code == 202:
            body = answer.json()
            if (body["event_id"], body["customer_id"]) != (command.id, command.customer):
                self.wrong.append(f"{command.type} {command.id}: another answer")
        elif answer.status_code < 500:
            self.wrong.append(f"{command.type} {command.id}: status {answer.status_code}")


def _something(chance: Random, name: str) -> tuple[str, dict[str, Any]]:
    luck = chance.random()
    if luck < 0.45:
        amount = {"amount": f"{chance.randint(100, 90_000) / 100:.2f}", "currency": "CNY"}
        return "purchase.made", {"order_id": name, "amount": amount, "items": [{"category": "music", "quantity": 1}]}
    if luck < 0.60:
        return "inquiry.received", {"channel": "web", "about": "jazz", "text": "Invented. 虚构。"}
    if luck < 0.70:
        return "feedback.received", {
            "kind": "complaint",
            "severity": chance.choice(("low", "high")),
            "text": "Invented.",
        }
    if luck < 0.75:
        return "feedback.received", {"kind": "praise", "text": "Invented."}
    if luck < 0.90:
        return "contact.made", {"by": "li.na", "channel": "phone", "outcome": "reached"}
    return "survey.answered", {"survey": "after_purchase", "nps": chance.randint(0, 10)}
