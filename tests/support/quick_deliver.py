"""The deliverer as it is, with fractions of seconds where it waits for hours: `python -m tests.support.quick_deliver`."""

import asyncio
import sys

from services.segmentation.webhooks.bootstrap import run
from services.segmentation.webhooks.verdicts import Policy
from shared.settings import Settings

QUICK = Policy(waits=(0, 200, 400, 800, *(1_000,) * 500), rest=500, longest_rest=2_000)

if __name__ == "__main__":
    sys.exit(asyncio.run(run(Settings.from_environment(), QUICK)))
