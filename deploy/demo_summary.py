"""What the services themselves say at the end of the demo, over their own HTTP, as tables for people."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.client import Client
from deploy.system import System
from deploy.topics import Topics
from deploy.watch import ServiceHealth, health_of_all
from shared.events.catalog import SEGMENTS
from shared.events.segments import SegmentsChanged

_LEVELS = ("high", "medium", "low", "none")
_DIMENSIONS = {
    "purchase_frequency": ("purchase frequency 购买频率", _LEVELS),
    "spend_level": ("spend level 消费水平", _LEVELS),
    "value": ("value (RFM) 客户价值", _LEVELS),
    "lifecycle": (
        "lifecycle 生命周期",
        ("prospect", "acquired", "growing", "mature", "declining", "churned"),
    ),
    "status": ("status 状态", ("potential", "new", "active", "dormant", "lost")),
    "engagement": ("engagement 活跃度", _LEVELS),
    "engagement_trend": ("engagement trend 活跃趋势", ("dropping", "steady")),
    "satisfaction": ("satisfaction 满意度", ("promoter", "passive", "detractor", "unknown")),
}
"""Those of few values; `guanxi segments sizes` shows all."""


@dataclass(frozen=True, slots=True)
class Summary:
    """`changes`: segment changes read back from their topic, each counted once."""

    segments: dict[str, Any]
    followups: dict[str, Any]
    statistics: dict[str, Any]
    health: list[ServiceHealth]
    changes: int

    @property
    def customers(self) -> int:
        return sum(self.segments["dimensions"]["lifecycle"].values())

    @property
    def dead_letters(self) -> int:
        return sum(one.dead_letters for one in self.health)

    @property
    def as_of(self) -> str:
        """The instant up to which the services had applied everything when they were asked."""
        return min(str(answer["as_of"]) for answer in (self.segments, self.followups, self.statistics))


def collect(system: System) -> Summary:
    client = Client(system)
    now = datetime.now(UTC)
    period = {"from": (now - timedelta(days=800)).isoformat(), "to": (now + timedelta(days=1)).isoformat()}
    settings = system.settings(system.addresses())
    return Summary(
        client.get("segmentation", "/v1/segments"),
        client.get("followup", "/v1/followups/counts"),
        client.get("feedback", "/v1/statistics", by="category", **period),
        health_of_all(settings),
        _changes(Topics(settings.kafka_bootstrap)),
    )


def _changes(topics: Topics) -> int:
    """Distinct by customer and number: a record that was delivered twice is one change."""
    wanted = f'"type":"{SegmentsChanged.event_type}"'.encode()
    found = (record for record in topics.read(SEGMENTS, last=None, follow=False) if wanted in record.value)
    return len({(record.key, json.loads(record.value)["sequence"]) for record in found})


def show(summary: Summary) -> None:
    console = Console()
    console.print(
        f"\n[bold]{summary.customers}[/] customers 客户, [bold]{summary.changes}[/] segment changes published"
        f" as of 截至 {summary.as_of}"
    )
    console.print(_segments(summary.segments["dimensions"], summary.segments["composites"]))
    console.print(_counts("customers with follow-ups that are 跟进任务", summary.followups["customers"]))
    console.print(_cases(summary.statistics["total"]))
    console.print(_freshness(summary))


def _segments(dimensions: dict[str, dict[str, int]], composites: dict[str, int]) -> Table:
    table = Table("segments by dimension 客户细分", "customers", box=None, header_style="bold")
    for name, (title, order) in _DIMENSIONS.items():
        sizes = dimensions.get(name, {})
        table.add_row(title, ", ".join(f"{value} {sizes.get(value, 0)}" for value in order))
    table.add_row("composites 组合客群", ", ".join(f"{name} {count}" for name, count in sorted(composites.items())))
    return table


def _counts(title: str, counts: dict[str, int]) -> Table:
    table = Table(title, "", box=None, header_style="bold")
    for state, count in counts.items():
        table.add_row(state, str(count))
    return table


def _cases(total: dict[str, Any]) -> Table:
    table = Table("cases 投诉与建议", "", box=None, header_style="bold")
    for name in ("opened", "open", "resolved", "closed", "reopened", "escalated"):
        table.add_row(name, str(total[name]))
    for name, counts in total["deadlines"].items():
        table.add_row(f"deadline to {name}", ", ".join(f"{kind} {count}" for kind, count in counts.items()))
    return table


def _freshness(summary: Summary) -> Table:
    table = Table("freshness 时效", "lag", "behind", "parked", "dead letters", box=None, header_style="bold")
    for one in summary.health:
        behind = "" if one.behind_seconds is None else f"{one.behind_seconds:.1f} s"
        table.add_row(one.service, str(one.lag), behind, str(one.parked), str(one.dead_letters))
    return table
