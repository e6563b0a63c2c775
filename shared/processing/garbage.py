"""How often Python looks for cycles: a worker's heap is tens of thousands of documents, which have none."""

import gc

THRESHOLDS = (10_000, 20, 50)
"""Looking through the whole heap took an eighth of a worker's processor time, and stopped it for 100 ms and more each time."""


def collect_seldom() -> None:
    """What is there already (modules, models, rules) stays for good and is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
