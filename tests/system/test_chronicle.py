"""The recorded changes of a running system under load, while their owners are killed and joined: what is read is what was said."""

import json
import signal
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from shared.events.catalog import SEGMENTS, SEGMENTS_LATEST
from tests.support.copy import Copy, Member, eventually
from tests.support.faults import quiesce
from tests.support.log_checks import Evidence

pytestmark = pytest.mark.real

LOADED = 6.0
"""Seconds of load between two blows."""
ASKED = 5
"""Customers who are looked at one by one."""


def test_reads_agree_with_the_log_after_kills_and_a_second_member(copy: Copy, evidence: Evidence) -> None:
    first = copy.first("segmentation")
    time.sleep(LOADED)
    kill(first)
    second = copy.add("segmentation")
    time.sleep(LOADED)
    kill(second)
    time.sleep(LOADED)
    copy.hold(second)
    evidence.load.pause()
    copy.wait_ready()
    quiesce(copy, evidence)
    eventually("all is recorded", lambda: behind(copy) == 0)
    sizes_are_a_count(copy)
    histories_are_what_was_said(copy, evidence)
    true_at_now_is_now(copy, evidence)
    newest_is_last(evidence)
    feed_is_complete(copy, evidence)


def test_made_anew_while_it_runs_it_is_the_same(copy: Copy, evidence: Evidence) -> None:
    evidence.load.pause()
    quiesce(copy, evidence)
    before = ask(copy, "/v1/segments")
    done = copy.command("segmentation", "chronicle", "--from-start", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["generation"] == 1
    assert ask(copy, "/v1/segments")["dimensions"] == before["dimensions"]
    sizes_are_a_count(copy)


def kill(member: Member) -> None:
    found = member.daemon.identity
    assert found is not None
    found.send(signal.SIGKILL)
    eventually(f"{member.daemon.name} is gone", lambda: not found.alive())


def behind(copy: Copy) -> int:
    done = copy.command("segmentation", "chronicle", "--json")
    assert done.returncode == 0, done.stderr
    found: int = json.loads(done.stdout)["behind"]
    return found


def ask(copy: Copy, path: str, **query: Any) -> Any:
    headers = {"authorization": f"Bearer {copy.key}"}
    answer = httpx.get(copy.first("segmentation").url + path, params=query, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sizes_are_a_count(copy: Copy) -> None:
    counted: dict[str, Counter[str]] = {}
    for document in copy.documents("segmentation", {}):
        view = document.get("view", {})
        for dimension, value in {**view.get("memberships", {}), "composites": view.get("composites", [])}.items():
            for one in value if isinstance(value, list) else [value]:
                counted.setdefault(dimension, Counter())[one] += 1
    answer = ask(copy, "/v1/segments")
    shown = {**answer["dimensions"], "composites": answer["composites"]}
    kept = {name: {value: n for value, n in values.items() if n} for name, values in shown.items()}
    assert {name: values for name, values in kept.items() if values} == {n: dict(c) for n, c in counted.items() if c}


def said(evidence: Evidence, topic: str) -> dict[str, list[dict[str, Any]]]:
    """Per customer the events of a topic as they lie there."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in evidence.log.entries[topic]:
        if entry.key is not None and entry.event is not None:
            found.setdefault(entry.key.decode(), []).append(entry.event)
    return found


def histories_are_what_was_said(copy: Copy, evidence: Evidence) -> None:
    for customer, events in list(said(evidence, SEGMENTS.name).items())[:ASKED]:
        once = {int(event["sequence"]): event for event in events}
        answer = ask(copy, f"/v1/customers/{customer}/segments/history", limit=1000)
        assert [change["sequence"] for change in answer["changes"]] == sorted(once, reverse=True)
        for change in answer["changes"]:
            assert change["at"] == once[change["sequence"]]["time"]
            moves = [(m["dimension"], m["to"]) for m in change["changes"]]
            assert moves == [(m["dimension"], m.get("to")) for m in once[change["sequence"]]["data"]["changes"]]
        known = ask(copy, f"/v1/customers/{customer}/segments", known_at=answer["changes"][0]["at"])
        assert {n: m["value"] for n, m in known["memberships"].items()} == answer["changes"][0]["memberships"]


def true_at_now_is_now(copy: Copy, evidence: Evidence) -> None:
    """Nothing came late in this load, so what was true is what was said."""
    for customer in list(said(evidence, SEGMENTS.name))[:ASKED]:
        path = f"/v1/customers/{customer}/segments"
        now = ask(copy, path)
        then = ask(copy, path, at=now["evaluated_at"])
        assert {n: m["value"] for n, m in then["memberships"].items()} == {
            n: m["value"] for n, m in now["memberships"].items()
        }


def newest_is_last(evidence: Evidence) -> None:
    for customer, events in said(evidence, SEGMENTS_LATEST.name).items():
        numbers = [int(event["sequence"]) for event in events]
        assert numbers[-1] == max(numbers), f"an old record of {customer} stayed the last one"


def feed_is_complete(copy: Copy, evidence: Evidence) -> None:
    seen: list[tuple[str, int]] = []
    query: dict[str, Any] = {"limit": 500}
    while True:
        page = ask(copy, "/v1/changes", **query)
        seen += [(event["subject"], int(event["sequence"])) for event in page["changes"]]
        query["after"] = page["next"]
        if not page["more"]:
            break
    wanted = {
        (customer, int(event["sequence"])) for customer, some in said(evidence, SEGMENTS.name).items() for event in some
    }
    assert len(seen) == len(set(seen))
    assert set(seen) == wanted
