"""All standard dimensions beside the backbone's five alone, over the same log: what the others cost."""

from tests.bench.bench_segmentation import COPIES, FIVE, STANDARD, ours
from tests.bench.figures import Effort, Figure, ratios
from tests.bench.pace import Pace
from tests.bench.stage import all_topics, sample, stage


async def measure(effort: Effort) -> list[Figure]:
    five: list[Pace] = []
    every: list[Pace] = []
    messages = sample(effort.of(COPIES))
    with stage() as on:
        await on.create(all_topics())
        await on.append(messages)
        for _ in range(effort.runs):
            five.append(await ours(on, len(messages), rules=FIVE))
            every.append(await ours(on, len(messages), rules=STANDARD))
            print(f"five: {five[-1].rate:,.0f} events/s, all: {every[-1].rate:,.0f}", flush=True)
    rates = [[one.rate for one in some] for some in (every, five)]
    costs = [[one.processor for one in some] for some in (every, five)]
    return [
        Figure("all standard dimensions", tuple(rates[0]), "events/s"),
        Figure("all dimensions ÷ five", ratios(*rates), "×", 0.7),
        Figure("all dimensions ÷ five: processor", ratios(*costs), "×"),
    ]
