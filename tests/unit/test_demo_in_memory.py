"""The demo in one process: what comes of it hangs on what was said alone, not on ids and not on how it was cut."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any

from deploy import demo_in_memory
from deploy.demo_data import DemoEvent, demo_events, read_purchases
from deploy.demo_in_memory import World
from shared.clock import DAY
from shared.events.catalog import CUSTOMERS, FEEDBACK, FOLLOWUPS, SEGMENTS
from shared.events.customers import ClockTicked, HistoryBegan, HistoryEnded

TODAY = date(2024, 6, 15)
OF_ONE_RUN = ("customer_id", "task_id", "changes")
"""What holds ids. Of a segment change the memberships are compared."""

Said = dict[str, list[tuple[str, str, str, dict[str, Any]]]]


def some_events() -> list[DemoEvent]:
    return demo_events((purchase for purchase in read_purchases() if purchase.customer.endswith("7")), TODAY)


async def played(events: Sequence[DemoEvent], chunk: int) -> World:
    """Three days into the present after it. Every world gives its customers other ids."""
    world, end = World(), events[-1].at + 3 * DAY
    await world.start()
    world.door.mark(HistoryBegan(import_id="demo"), events[0].at)
    for start in range(0, len(events), chunk):
        await demo_in_memory._import(world, events[start : start + chunk])
    world.door.mark(HistoryEnded(import_id="demo"), end)
    for later in range(3):
        world.door.mark(ClockTicked(), end + later)
        await world.settle()
    return world


def said_by(world: World) -> dict[str, Said]:
    """Per topic and customer, as the demo names them: what was said, when, and under which mark."""
    registered = (event for event in world.said(CUSTOMERS) if "external_ids" in event["data"])
    names = {event["subject"]: str(event["data"]["external_ids"]) for event in registered}
    found: dict[str, Said] = {}
    for topic in (SEGMENTS, FOLLOWUPS, FEEDBACK):
        of: Said = defaultdict(list)
        for event in world.said(topic):
            mark = "history" if event.get("history") else "replay" if event.get("replay") else "live"
            data = {name: value for name, value in event["data"].items() if name not in OF_ONE_RUN}
            of[names[event["subject"]]].append((event["type"], event["time"], mark, data))
        found[topic.name] = of
    return found


async def test_other_ids_other_partitions_and_other_cuts_say_the_same() -> None:
    events = some_events()
    one, other = said_by(await played(events, 500)), said_by(await played(events, 137))
    for topic, said in one.items():
        assert len(said) > 50, topic
        assert said.keys() == other[topic].keys()
        for name, story in said.items():
            assert story == other[topic][name], (topic, name)
