"""Every kind of record that cannot be applied, put straight into the log beside intake's door."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer

from shared.clock import to_rfc3339, wall_clock
from shared.events.catalog import CUSTOMERS, OUTPUT, PARTITIONS, dead_letters
from shared.events.codec import HEADERS
from shared.processing.partitioner import partition_of
from tests.support.copy import Copy, eventually
from tests.support.log_checks import Evidence


@dataclass(frozen=True, slots=True)
class Poison:
    """`customer`: whom it parks; None: it belongs to nobody and is set aside. `reason`: what every service says of it."""

    kind: str
    customer: str | None
    reason: str
    place: tuple[int, int]


@dataclass(slots=True)
class Poisoner:
    copy: Copy
    evidence: Evidence

    def send(self) -> list[Poison]:
        bad, strange, newer, gap, nothing = (
            self._registered(name) for name in ("bad", "strange", "newer", "gap", "null")
        )
        wrong, other = str(uuid4()), str(uuid4())
        self._put(gap, _numbered(gap, 1))
        sent = [
            Poison("bad bytes", bad, "undecodable", self._put(bad, b"\xff\x00 no event")),
            Poison(
                "unknown type", strange, "undecodable", self._put(strange, _event(strange, "guanxi.moon.landed.v1"))
            ),
            Poison("newer version", newer, "undecodable", self._put(newer, _event(newer, "guanxi.purchase.made.v99"))),
            Poison("gap in a numbered source", gap, "gap in", self._put(gap, _numbered(gap, 3))),
            Poison("null value", nothing, "undecodable", self._put(nothing, None)),
            Poison("bad bytes under a key of nobody", None, "", self._put("nobody", b"{")),
            Poison("bad bytes without a key", None, "", self._put(None, b"[]")),
            Poison("null value without a key", None, "", self._put(None, None)),
            Poison("key of another", None, "key is not", self._put(wrong, _event(other, "guanxi.purchase.made.v1"))),
        ]
        self.evidence.poison |= {poison.place for poison in sent}
        return sent

    def all_handled(self, sent: list[Poison]) -> bool:
        self.evidence.log.refresh()
        parked = self.copy.parked()
        return all(self._handled(service, poison, parked[service]) for service in OUTPUT for poison in sent)

    def resume_and_erase(self, sent: list[Poison]) -> None:
        """What cannot be applied parks again, and keeps what waits behind it. Erasing the person ends it."""
        parked = [poison for poison in sent if poison.customer]
        first = parked[0].customer
        document = {"type": "usage.reported", "customer": {"id": first}, "data": {"name": "behind the poison"}}
        self.evidence.load.ask("POST", "/v1/events", document)
        for service in OUTPUT:
            eventually(f"{service} lets it wait", lambda: self._waiting(service, first) >= 2)  # noqa: B023
            before = self._revision(service, first)
            self.evidence.load.ask("POST", f"/v1/customers/{first}/resume", {"service": service})
            eventually(f"{service} tried again", lambda: self._revision(service, first) > before)  # noqa: B023
            assert self._waiting(service, first) >= 2
        for poison in parked:
            receipt = self.evidence.load.ask("POST", f"/v1/customers/{poison.customer}/erasure", {})["receipt_id"]
            eventually("every service has forgotten", self._complete(receipt))

    def _complete(self, receipt: str) -> Callable[[], Any]:
        return lambda: self.evidence.load.ask("GET", f"/v1/erasures/{receipt}")["complete"]

    def _registered(self, name: str) -> str:
        body = {"external_id": {"system": "poison", "id": name}}
        found: str = self.evidence.load.ask("POST", "/v1/customers", body)["customer_id"]
        return found

    def _put(self, key: str | None, value: bytes | None) -> tuple[int, int]:
        """Where it is in the log."""
        places: list[tuple[int, int]] = []
        raw = key.encode() if key is not None else None
        producer = Producer({"bootstrap.servers": self.copy.kafka.address, "log_level": 0})
        producer.produce(
            CUSTOMERS.name, key=raw, value=value, headers=list(HEADERS), partition=partition_of(raw, PARTITIONS),
            on_delivery=lambda error, message: places.append((message.partition(), message.offset())),
        )  # fmt: skip
        assert producer.flush(30) == 0
        return places[0]

    def _handled(self, service: str, poison: Poison, parked: dict[str, str]) -> bool:
        if poison.customer is not None:
            return poison.reason in parked.get(poison.customer, "")
        for entry in self.evidence.log.entries[dead_letters(service).name]:
            at = (int(entry.headers["original-partition"]), int(entry.headers["original-offset"]))
            if at == poison.place and poison.reason in entry.headers["error"].decode():
                return True
        return False

    def _document(self, service: str, customer: str | None) -> dict[str, Any]:
        (found,) = self.copy.documents(service, {"_id": customer})
        return found

    def _waiting(self, service: str, customer: str | None) -> int:
        return len(self._document(service, customer).get("parked", {}).get("waiting", ()))

    def _revision(self, service: str, customer: str | None) -> int:
        return int(self._document(service, customer)["rev"])


def _event(customer: str, kind: str, **more: Any) -> bytes:
    moment = to_rfc3339(wall_clock())
    data = {"customer_id": customer, "amount": {"amount": "1.00", "currency": "CNY"}}
    event = {"specversion": "1.0", "id": str(uuid4()), "source": "urn:guanxi:poison", "type": kind, "time": moment,
             "recordedtime": moment, "subject": customer, "partitionkey": customer, **more, "data": data}  # fmt: skip
    return json.dumps(event).encode()


def _numbered(customer: str, number: int) -> bytes:
    return _event(customer, "guanxi.purchase.made.v1", sequence=f"{number:020d}")
