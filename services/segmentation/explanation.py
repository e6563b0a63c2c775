"""What a decision rested on, gathered condition by condition: values against thresholds, and the events behind them."""

from decimal import Decimal
from functools import reduce
from typing import Any

from services.segmentation.measures.facts import FOREVER, Moment
from services.segmentation.measures.metrics import Metric, once
from services.segmentation.measures.money import ONE, Rates, add, multiply, subtract
from services.segmentation.measures.spend import NetSpend, Shares
from services.segmentation.state import Part
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
        if metric.name not in self.values:
            self._measured(metric, moment, threshold)
        for part in metric.parts:
            if part.name not in self.values:
                self._measured(part, moment, None)

    def _measured(self, metric: Metric, moment: Moment, threshold: Any) -> None:
        value = moment[metric]
        shown = None if value is None else metric.shown(value)
        self.values[metric.name] = {"value": shown} if threshold is None else {"value": shown, "threshold": threshold}
        if metric.remarkable:
            self._remark(metric, moment)

    def _remark(self, spend: Metric, moment: Moment) -> None:
        if isinstance(spend, Shares):
            self.value(f"{spend.name}.whole", f"{spend.whole(moment):f}")
        if isinstance(spend, Shares | NetSpend):
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
        events = [_events(metric, moment) for metric in metrics]
        if self._stated:
            events.append(tuple(self._stated))
        return {
            "values": self.values,
            "events": once(events),
            "expired": () if since is None else once([_expired(metric, moment, since) for metric in metrics]),
            "rule": rule,
        }


def _events(metric: Metric, moment: Moment) -> tuple[str, ...]:
    found = moment.ids.get(metric)
    if found is None:
        found = moment.ids[metric] = metric.events(moment)
    return found


def _expired(metric: Metric, moment: Moment, since: Instant) -> tuple[str, ...]:
    key = (metric, since)
    found = moment.ids.get(key)
    if found is None:
        found = moment.ids[key] = metric.expired(moment, since)
    return found


def remarks(spend: NetSpend | Shares, moment: Moment) -> dict[str, dict[str, str]]:
    """Per currency: what has no rate and is left out of the money, and refunds beyond what was bought."""
    found: dict[str, dict[str, str]] = {}
    within = spend.window.within
    first, after = spend.rates.first, -FOREVER if within is None else moment.at - within
    for time, _, _, parts, _ in moment.facts.recorded:
        if time > after and any(back != "0" or first.get(currency, FOREVER) > time for currency, _, back in parts):
            _remark(found, spend.rates, time, parts)
    return found


def _remark(found: dict[str, dict[str, str]], rates: Rates, time: Instant, parts: tuple[Part, ...]) -> None:
    """As the order's money is judged: several currencies that have rates in the base currency, all others in their own."""
    rated: list[tuple[str, Decimal, Decimal]] = []
    for currency, bought, back in parts:
        net, rate = subtract(Decimal(bought), Decimal(back)), rates.rate(currency, time)
        if rate is not None:
            rated.append((currency, net, rate))
        else:
            _tally(found, "refunded_beyond" if net < 0 else "unconverted", currency, net.copy_abs())
    if len(rated) > 1:
        total = reduce(add, (multiply(net, rate) for _, net, rate in rated))
        rated = [(rates.base, total, ONE)]
    for currency, net, _ in rated:
        if net < 0:
            _tally(found, "refunded_beyond", currency, net.copy_abs())


def _tally(found: dict[str, dict[str, str]], remark: str, currency: str, amount: Decimal) -> None:
    had = found.setdefault(remark, {}).get(currency, "0")
    found[remark][currency] = f"{add(Decimal(had), amount):f}"
