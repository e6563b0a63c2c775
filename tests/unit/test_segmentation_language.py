"""The rules language beyond the standard file: each word of it means what it says, and only that is kept which rules read."""

import pytest

from services.segmentation.rules import RulesError
from shared.clock import DAY
from tests.support.segmentation_drive import CUSTOMER, Drive, driven, event_of
from tests.support.segmentation_facts import Fact
from tests.unit.segmentation_story import T0, bought, course, rules, said

LEVELS = """
metrics:
  spend: {sum: purchases, within: 100d}
dimensions:
  level:
    cases:
      - {value: high, enter: spend >= 1000, leave: spend >= 800}
      - {value: medium, enter: spend >= 500, leave: spend >= 300}
    otherwise: low
"""


def test_hysteresis_keeps_who_is_in_and_asks_more_of_who_is_not() -> None:
    facts = [bought(0, "250"), bought(1, "150"), bought(2, "600"), bought(3, "100")]
    changes, drive = driven(rules(LEVELS), facts, T0 + 200 * DAY)
    # 400 of 800 is not enough to come in; from 1100, 850 keeps; 700 falls to medium, 100 to low.
    assert course(changes, "level") == [(0, "low"), (2, "high"), (101, "medium"), (102, "low")]
    assert drive.idle == 0


def test_a_stay_says_what_it_rests_on() -> None:
    domain = rules(LEVELS)
    _, drive = driven(domain, [bought(0, "250"), bought(1, "850")], T0 + 100 * DAY)
    because = domain.because(drive.state, T0 + 100 * DAY)["level"]
    assert because["rule"] == "level: high stays while spend >= 800"
    assert because["values"] == {"spend": {"value": "850", "threshold": "800"}}


HELD = """
metrics:
  visits: {count: seen, within: 10d}
streams:
  seen: [{on: visit.held}]
dimensions:
  keen:
    hold_for: 7d
    cases: [{value: "yes", when: visits >= 1}]
    otherwise: "no"
"""


def test_dwell_publishes_nothing_before_its_end_and_the_value_at_its_end_then() -> None:
    facts = [said("registered", 0), said("visit.held", 1), said("visit.held", 15)]
    changes, drive = driven(rules(HELD), facts, T0 + 100 * DAY)
    assert course(changes, "keen") == [(0, "no"), (7, "yes"), (14, "no"), (21, "yes"), (28, "no")]
    assert drive.idle == 0


def test_a_value_that_has_gone_again_within_the_dwell_is_never_told() -> None:
    short = HELD.replace("within: 10d", "within: 2d")
    changes, drive = driven(rules(short), [said("registered", 0), said("visit.held", 1)], T0 + 100 * DAY)
    assert course(changes, "keen") == [(0, "no")]
    assert drive.wakes == 0


LATCHED = """
metrics: {spend: {sum: purchases, within: 30d}}
dimensions:
  level: {cases: [{value: high, when: spend >= 100}], otherwise: low}
  tier: {facet: custom.tier}
  likes: {facet: interests}
composites:
  once_high: {when: ever level in high}
  lapsed: {when: [once_high, {not: level = high}]}
  cared_for: {when: {any: [facet.custom.tier = gold, {all: [likes = tea, facet.region != north]}]}}
"""


def test_what_was_published_once_is_remembered_over_refunds_and_objection() -> None:
    at = T0 + DAY
    facts = [
        bought(0, "150"),
        Fact("purchase", "q", at, at, order_id="o", amount="500"),
        Fact("refund", "r", at + 1, at + 1, "o", amount="500"),
        said("objected", 2),
        said("withdrawn", 3),
    ]
    changes, _ = driven(rules(LATCHED), facts, T0 + 100 * DAY)
    assert course(changes, "composites") == [
        (0, ("once_high",)),
        (2, None),
        (3, ("once_high",)),
        (30, ("lapsed", "once_high")),
    ]


def test_facets_are_followed_through_corrections_and_conditions_see_them() -> None:
    facts = [
        said("registered", 0, "r", custom={"tier": "silver", "age": 41}, facets={"interests": ["tea", "golf", "tea"]}),
        said("corrected", 1, "c", changes={"custom.tier": {"from": "silver", "to": "gold"}}),
        said(
            "corrected", 2, "d", changes={"custom.tier": {"to": None}, "region": {"to": "north"}, "name": {"to": "x"}}
        ),
        said("corrected", 3, "e", changes={"interests": {"to": []}}),
    ]
    changes, drive = driven(rules(LATCHED), facts, T0 + 9 * DAY)
    assert course(changes, "tier") == [(0, "silver"), (1, "gold"), (2, None)]
    assert course(changes, "likes") == [(0, ("golf", "tea")), (3, None)]
    assert course(changes, "composites") == [(0, ("cared_for",)), (2, ())]
    gone = changes[2][1].changes
    assert [change.because.events for change in gone if change.dimension == "tier"] == [("d",)]
    assert drive.state.facets.keys() == {"custom.tier", "interests", "region"}


STREAMS = """
streams:
  answers:
    - {on: survey.answered, where: {survey: [spring, autumn], answers.delivery: ">= 3"}, value: csat, points: 2}
    - {on: survey.answered, value: preferences}
  spoken: [{on: call.ended, where: {direction: inbound}, value: duration_seconds}]
metrics:
  points: {points: answers, within: 30d}
  stars: {newest: answers, within: 30d}
  wishes: {collected: answers, within: 30d}
  seconds: {sum: spoken, within: 10d}
  calls: {count: spoken}
  days: {distinct_days: spoken, within: 10d}
  silence: {since_last: spoken}
  before: {count: spoken, within: 20d, until: 10d}
  recent: {count: spoken, within: 10d}
dimensions:
  pleased: {cases: [{value: "yes", when: stars >= 4}, {value: "no", when: points >= 1}]}
  wanted: {list: wishes}
  talk: {cases: [{value: long, when: seconds > 99.5}, {value: often, when: days >= 2}], otherwise: short}
  quiet: {cases: [{value: "yes", when: silence >= 12d}, {value: never, when: calls = 0}], otherwise: "no"}
  fading: {cases: [{value: "yes", when: before > 2 * recent}], otherwise: "no"}
"""


def call(day: float, seconds: int, direction: str = "inbound") -> Fact:
    return said("call.ended", day, direction=direction, outcome="answered", duration_seconds=seconds)


def test_the_first_entry_that_fits_decides_what_an_event_is_worth() -> None:
    facts = [
        said("survey.answered", 0, survey="spring", answers={"delivery": 3}, csat=5, preferences=["blue"]),
        said("survey.answered", 1, survey="winter", answers={"delivery": 5}, csat=1, preferences=["red", "green"]),
        said("survey.answered", 2, survey="autumn", answers={"delivery": 2}, csat=1),
    ]
    changes, drive = driven(rules(STREAMS), facts, T0 + 90 * DAY)
    assert course(changes, "pleased") == [(0, "yes"), (1, "no"), (30, None)]
    assert course(changes, "wanted") == [(0, ("5",)), (1, ("5", "green", "red")), (30, ("green", "red")), (31, ())]
    assert drive.idle == 0


def test_sums_days_silence_and_windows_that_end_before_now() -> None:
    facts = [call(0, 60), call(0.5, 40), call(1, 0), call(2, 0), call(2, 500, "outbound")]
    changes, drive = driven(rules(STREAMS), facts, T0 + 90 * DAY)
    assert course(changes, "talk") == [(0, "short"), (0.5, "long"), (10, "often"), (11, "short")]
    assert course(changes, "quiet") == [(0, "no"), (14, "yes")]
    assert course(changes, "fading") == [(0, "no"), (11, "yes"), (22, "no")]
    assert drive.idle == 0


def test_beyond_the_limit_the_oldest_of_a_stream_count_for_ever_only() -> None:
    domain = rules("limits: {events: 2}\n" + STREAMS)
    _, drive = driven(domain, [call(day, 60) for day in range(5)], T0 + 5 * DAY)
    assert len(drive.state.streams["spoken"]) == 2
    assert drive.state.folds["spoken"] == (T0, T0 + 2 * DAY, 3, 0, "180")
    assert drive.state.given_up == 3
    assert domain.because(drive.state, T0 + 5 * DAY)["quiet"]["values"]["calls"]["value"] == 5


def test_what_no_window_reaches_any_more_is_dropped() -> None:
    domain = rules(HELD)
    facts = [said("visit.held", day) for day in (0, 5, 19, 21)]
    _, drive = driven(domain, [*facts, said("visit.held", 22, late=21)], T0 + 22 * DAY)
    assert [(entry[0] - T0) // DAY for entry in drive.state.streams["seen"]] == [5, 19, 21]


def test_only_what_the_rules_read_is_kept_and_the_rest_costs_nothing() -> None:
    domain = rules(HELD)
    drive = Drive(domain, domain.initial(CUSTOMER))
    list(drive.apply(said("registered", 0, facets={"region": "north"})))
    state = drive.state
    assert not state.facets
    for fact in (bought(1, "5"), call(1, 60), said("corrected", 1, changes={"region": {"to": "south"}})):
        decision = domain.on_event(state, event_of(fact), fact.at)
        assert decision.state is state
        assert decision.events == ()


def test_categories_of_items_win_and_refunds_lower_them_in_proportion() -> None:
    domain = rules("metrics: {by: {share: purchases, within: 30d}}\ndimensions: {tops: {list: by, at_least: 40%}}")
    items = [
        {"category": "tea", "amount": {"amount": "60", "currency": "CNY"}},
        {"category": "cups", "amount": {"amount": "30", "currency": "CNY"}},
    ]
    facts = [
        Fact("purchase", "p", T0, T0, "o", amount="100", said={"category": "gifts", "items": items}),
        Fact("purchase", "q", T0 + DAY, T0 + DAY, None, amount="50", said={"category": "cups"}),
        Fact("refund", "r", T0 + 2 * DAY, T0 + 2 * DAY, "o", amount="50"),
    ]
    changes, _ = driven(domain, facts, T0 + 40 * DAY)
    assert course(changes, "tops") == [(0, ("tea",)), (1, ("cups", "tea")), (2, ("cups",)), (31, ())]
    because = changes[2][1].changes[0].because
    assert because.values["by"].value == {"cups": "65", "gifts": "5", "tea": "30"}
    assert (because.values["by.whole"].value, because.values["by"].threshold) == ("100", "40%")
    assert because.events == ("p", "r", "q")


WRONG = [
    (STREAMS.replace("call.ended", "call.endet"), ["streams.spoken[0].on", "'call.endet' is not known; did you mean"]),
    (STREAMS.replace("value: csat", "value: cast"), ["streams.answers[0].value", "did you mean 'csat'"]),
    (STREAMS.replace("answers.delivery", "answer.delivery"), ["streams.answers[0].where", "did you mean 'answers'"]),
    (STREAMS.replace("newest: answers", "newest: answer"), ["metrics.stars.newest", "did you mean 'answers'"]),
    (STREAMS.replace("until: 10d", "until: 20d"), ["metrics.before", "expected a longer `within`"]),
    (STREAMS.replace("list: wishes", "list: stars"), ["dimensions.wanted.list", "expected a metric `collected`"]),
    (STREAMS.replace("points: answers", "points: purchases"), ["metrics.points.points", "orders have neither points"]),
    (STREAMS.replace("silence >= 12d", "silence >= 12"), ["dimensions.quiet.cases[0].when", "a span such as 30d"]),
    (STREAMS.replace("2 * recent", "2 * silence"), ["is a number and silence a time", "two of a kind"]),
    (STREAMS.replace("stars >= 4", "stars >= four"), ["expected a number after >="]),
    (LEVELS.replace(", leave: spend >= 800", ""), ["dimensions.level.cases[0]", "both `enter` and `leave`"]),
    (LEVELS.replace("sum: purchases", "share: purchases"), ["spend is a share of every category", "list: spend"]),
    (LATCHED.replace("ever level in high", "ever level in hihg"), ["composites.once_high.when", "did you mean 'high'"]),
    (LATCHED.replace("ever level in", "ever spend in"), ["`ever` remembers values of a dimension"]),
    (LATCHED.replace("facet.region", "facet.regoin"), ["any[1].all[1]", "did you mean 'region'", "custom.regoin"]),
    (LATCHED.replace("ever level in high", "lapsed = yes"), ["'lapsed' stands further down", "nothing goes round"]),
    (LATCHED.replace("once_high: {when", "level: {when"), ["composites.level", "a dimension has this name already"]),
    (LATCHED.replace("{any:", "{some:"), ["composites.cared_for.when", "one of all, any, not"]),
    (LATCHED.replace("facet: custom.tier", "facet: tier"), ["dimensions.tier.facet", "`custom.tier`"]),
    (HELD.replace("hold_for: 7d", "hold_fro: 7d"), ["dimensions.keen.hold_fro", "did you mean 'hold_for'"]),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_what_does_not_fit_together_is_said_with_line_and_place(text: str, expected: list[str]) -> None:
    with pytest.raises(RulesError, match=r"^mine:\d+: ") as caught:
        rules(text)
    assert [part for part in expected if part not in str(caught.value)] == []
