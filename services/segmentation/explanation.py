"""What a decision rested on, gathered condition by condition: values against thresholds, and the events behind them."""

from decimal import Decimal
from typing import Any

from services.segmentation.facts import FOREVER, Moment
from services.segmentation.metrics import Metric, once
from services.segmentation.money import add, subtract
from services.segmentation.spend import NetSpend, Shares
from shared.clock import Instant


class Explanation:
    """Where two conditions measure the same, the threshold of the first is shown."""

    __slots__ = ("_metrics", "_stated", "values")

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self._metrics: dict[Metric, None] = {}
        self._stated: list[str] = []

    def value(self, name: str, value: Any, threshold: Any = None) -> None:
        if name not in self.values:
            self.values[name] = {"value": value} if threshold is None else {"value": value, "threshold": threshold}

    def measure(self, metric: Metric, moment: Moment, threshold: Any) -> None:
        self._metrics[metric] = None
        for part in (metric, *metric.parts):
            if part.name not in self.values:
                value = moment.value(part)
                self.value(part.name, None if value is None else part.shown(value), threshold)
                if isinstance(part, NetSpend | Shares):
                    self._remark(part, moment, value)
            threshold = None

    def _remark(self, spend: NetSpend | Shares, moment: Moment, value: Any) -> None:
        if isinstance(spend, Shares):
            self.value(f"{spend.name}.whole", f"{value.whole:f}")
        for name, amounts in remarks(spend, moment).items():
            self.value(name, amounts)

    def facet(self, name: str, moment: Moment, threshold: Any = None) -> None:
        value, event_id = moment.facts.record.facets.get(name, (None, None))
        self.value(f"facet.{name}", value, threshold)
        if event_id is not None:
            self._stated.append(event_id)

    def because(self, moment: Moment, since: Instant | None, rule: str) -> dict[str, Any]:
        """`since`: when the value before began; None where there was none."""
        metrics = self._metrics
        events = [metric.events(moment) for metric in metrics]
        if self._stated:
            events.append(tuple(self._stated))
        return {
            "values": self.values,
            "events": once(events),
            "expired": () if since is None else once([metric.expired(moment, since) for metric in metrics]),
            "rule": rule,
        }


def remarks(spend: NetSpend | Shares, moment: Moment) -> dict[str, dict[str, str]]:
    """Per currency: what has no rate and is left out of the money, and refunds beyond what was bought."""
    found: dict[str, dict[str, str]] = {}
    within = spend.window.within
    first, after = spend.rates.first, -FOREVER if within is None else moment.at - within
    for time, _, _, parts, _ in moment.facts.recorded:
        for currency, bought, back in parts:
            if (back != "0" or first.get(currency, FOREVER) > time) and time > after:
                net = subtract(Decimal(bought), Decimal(back))
                if net < 0:
                    _tally(found, "refunded_beyond", currency, -net)
                elif first.get(currency, FOREVER) > time:
                    _tally(found, "unconverted", currency, net)
    return found


def _tally(found: dict[str, dict[str, str]], remark: str, currency: str, amount: Decimal) -> None:
    had = found.setdefault(remark, {}).get(currency, "0")
    found[remark][currency] = f"{add(Decimal(had), amount):f}"
