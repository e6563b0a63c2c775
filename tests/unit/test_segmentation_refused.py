"""What the rules language refuses: all that could never mean anything, and all that is no rules file."""

from pathlib import Path

import pytest

from services.segmentation.rules import RulesError, load_rules
from shared.clock import DAY
from tests.support.segmentation_drive import driven
from tests.support.segmentation_facts import Fact
from tests.unit.segmentation_story import T0, bought, rules, said

COUNTED = "metrics: {m: {count: s}}\ndimensions: {d: {cases: [{value: a, when: m >= 1}]}}\n"
ENTRIES = [
    ("{on: call.ended, where: {outcome: answerd}}", "where.outcome", "did you mean 'answered'?"),
    ("{on: call.ended, where: {outcome: [busy, fialed]}}", "where.outcome", "did you mean 'failed'?"),
    ('{on: call.ended, where: {outcome: ">= 3"}}', "where.outcome", "expected one of answered, busy"),
    ("{on: message.exchanged, where: {opened: ja}}", "where.opened", "known are false, true"),
    ("{on: feedback.received, where: {severity: hihg}}", "where.severity", "did you mean 'high'?"),
    ('{on: survey.answered, where: {csat: "=> 3"}}', "where.csat", "expected a comparison, as '>= 3'"),
    ('{on: survey.answered, where: {csat: ">= 30"}}', "where.csat", "only from 1 to 5"),
    ('{on: survey.answered, where: {csat: "< 1"}}', "where.csat", "only from 1 to 5"),
    ('{on: survey.answered, where: {csat: "> 5"}}', "where.csat", "only from 1 to 5"),
    ("{on: survey.answered, where: {nps: [9, 11]}}", "where.nps", "only from 0 to 10"),
    ("{on: survey.answered, where: {csat: good}}", "where.csat", "expected a number"),
    ('{on: call.ended, where: {duration_seconds: "< 0"}}', "where.duration_seconds", "only from 0"),
    ('{on: purchase.made, where: {amount: ">= 100"}}', "where.amount", "amount.amount"),
    ("{on: purchase.made, where: {items: tea}}", "where.items", "is a list of several fields each"),
    ("{on: purchase.made, where: {items.category: tea}}", "where.items.category", "is a list of several fields each"),
    ("{on: purchase.made, value: items}", "value", "is a list of several fields each"),
    ('{on: survey.answered, value: nps, as: {promoter: ">= 11"}}', "as.promoter", "only from 0 to 10"),
    ('{on: survey.answered, value: needs, as: {some: ">= 1"}}', "value", "is a list; `as` names ranges of one value"),
]


@pytest.mark.parametrize(("entry", "place", "said"), ENTRIES)
def test_what_no_event_can_ever_fit_is_refused(entry: str, place: str, said: str) -> None:
    with pytest.raises(RulesError, match=rf"^mine:2: streams\.s\[0\]\.{place}: ") as caught:
        rules(f"streams: {{s: [{entry}]}}\n{COUNTED}")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        '{on: survey.answered, where: {csat: ">= 5"}}',
        '{on: survey.answered, where: {csat: "> 4.5", nps: [0, 10]}}',
        '{on: usage.reported, where: {amount: ">= -2", name: [login, "3"]}}',
        '{on: purchase.made, where: {amount.amount: ">= 100", amount.currency: CNY}}',
        '{on: survey.answered, where: {answers.delivery: ">= 3", needs: price}, value: needs}',
        "{on: customer.registered, where: {facets.birthday.calendar: lunar}, value: facets.birthday.month}",
        "{on: customer.corrected, where: {changes.region.to: north}}",
        "{on: message.exchanged, where: {opened: true, direction: [inbound, outbound]}}",
        "{on: order.updated, value: expected_at}",
    ],
)
def test_what_an_event_may_fit_is_taken(entry: str) -> None:
    rules(f"streams: {{s: [{entry}]}}\n{COUNTED}")


def test_a_number_below_zero_can_be_compared_with() -> None:
    domain = rules(
        'streams: {s: [{on: usage.reported, where: {amount: ">= -2"}, value: amount}]}\n'
        "metrics: {m: {sum: s}}\ndimensions: {d: {cases: [{value: a, when: m < -1}], otherwise: b}}\n"
    )
    facts = [
        Fact("usage.reported", amount, T0, T0, said={"name": "x", "amount": amount}) for amount in ("-3", "-1", "-2")
    ]
    _, drive = driven(domain, facts, T0 + 5 * DAY)
    assert domain.because(drive.state, T0 + 5 * DAY)["d"]["values"] == {"m": {"value": "-3", "threshold": "-1"}}


BARE = "streams: {s: [{on: survey.answered}], o: [{on: purchases, points: 1}]}\n"
METRICS = [
    ("newest: s", "metrics.m.newest", "no entry of 's' keeps a `value`"),
    ("collected: s", "metrics.m.collected", "no entry of 's' keeps a `value`"),
    ("sum: s", "metrics.m.sum", "no entry of 's' keeps a `value`"),
    ("sum: o", "metrics.m.sum", "expected `sum: purchases`"),
    ("points: s", "metrics.m.points", "no entry of 's' has `points`"),
    (
        "median_gap: s, within: 9d, at_least: 5d, at_most: 4d, otherwise: 5d",
        "metrics.m.median_gap",
        "`at_least` is more than",
    ),
]


@pytest.mark.parametrize(("metric", "place", "said"), METRICS)
def test_a_metric_of_what_is_not_there_is_refused(metric: str, place: str, said: str) -> None:
    with pytest.raises(RulesError, match=rf"^mine:3: {place}: ") as caught:
        rules(f"{BARE}metrics: {{m: {{{metric}}}}}\ndimensions: {{d: {{facet: region}}}}\n")
    assert said in str(caught.value)


SCORED = """
metrics:
  spend: {sum: purchases, within: 9d}
  silence: {since_last: purchases}
  by: {share: purchases, within: 9d}
  recency: {score: silence, steps: {"< 3d": 5}, otherwise: 1}
dimensions:
  d: {shown: SHOWN, cases: [{value: a, when: recency >= 5}], otherwise: b}
"""


@pytest.mark.parametrize("shown", ["R{recency:zz}", "R{recency:>5}", "R{recency!r}", "R{recency.real}", "R{}", "{by}"])
def test_what_is_shown_is_metrics_as_they_are(shown: str) -> None:
    with pytest.raises(RulesError, match=r"^mine:9: dimensions\.d\.shown: "):
        rules(SCORED.replace("SHOWN", f'"{shown}"'))


def test_what_is_shown_reads_like_any_other_value() -> None:
    domain = rules(SCORED.replace("SHOWN", '"{{{recency}}} {spend} {silence}"'))
    found, _ = driven(domain, [said("registered", 0), bought(1, "1E+3")], T0 + DAY)
    shown = [c.because.values["shown"].value for _, event in found for c in event.changes]
    assert shown == ["{1} 0 -", "{5} 1000 0s"]


@pytest.mark.parametrize("sentence", ["facet.custom.tier => 3", "facet.custom.tier == gold", "m =< 3"])
def test_an_operator_that_is_none_is_no_value(sentence: str) -> None:
    with pytest.raises(RulesError, match=r"dimensions\.d\.cases\[0\]\.when: .*expected one of >=, >"):
        rules(
            f'metrics: {{m: {{count: purchases}}}}\ndimensions: {{d: {{cases: [{{value: a, when: "{sentence}"}}]}}}}\n'
        )


def test_notes_are_in_the_languages_that_people_read_here() -> None:
    text = "composites: {c: {when: d = a, note: {en: A, hz: 甲}}}\ndimensions: {d: {facet: region}}\n"
    with pytest.raises(RulesError, match=r"^mine:2: composites\.c\.note: .*'hz' is not known; known are en, zh"):
        rules(text)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{[a]: b}: c\n", "mine.yaml:1: no YAML: a key must be a word"),
        (b"x: 1\n? [a, b]\n: c\n", "mine.yaml:2: no YAML: a key must be a word"),
        ("x: 1\nnote: 价".encode("gbk"), "mine.yaml:2: no text in UTF-8"),
        (b"x: 1\na: &a [*a]\n", "mine.yaml:2: a[0]: an alias goes round"),
        (b"x: &a {y: *a}\n", "mine.yaml:1: x.y: an alias goes round"),
        (b"a: 2024-13-45\n", "mine.yaml: no YAML"),
        (b"a: " + b"[" * 5000, "mine.yaml: no YAML: nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, raw: bytes, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(raw)
    with pytest.raises(RulesError) as caught:
        load_rules(file)
    assert said in str(caught.value)
