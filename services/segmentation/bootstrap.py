"""Segmentation put together."""

import asyncio
import random
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter

from services.segmentation import api
from services.segmentation.changes import CHANGES, CHANGES_INDEXES, Changes
from services.segmentation.chronicle import Chronicle
from services.segmentation.ledgers import FLOWS, FLOWS_INDEXES, SIZES, Ledgers
from services.segmentation.processor import build_domain
from services.segmentation.remaking import WANTED, Remaking
from services.segmentation.rules_in_force import RulesInForce
from services.segmentation.snapshot import Numbers, Snapshot
from services.segmentation.store import INDEXES, SegmentationQueries
from services.segmentation.trail import TRAIL, TRAIL_INDEXES, Trail
from shared.clock import wall_clock
from shared.events.catalog import CHRONICLE
from shared.processing.follower import Follower
from shared.processing.mongo import Collection
from shared.processing.ports import LogWriter
from shared.processing.retry import Retry
from shared.processing.service import Premises, Service


def build_router(premises: Premises) -> APIRouter:
    domain = build_domain(premises.settings.config_dir)
    in_force = RulesInForce(domain, premises.versions)
    return api.build_router(SegmentationQueries(premises.documents), premises.freshness, domain, in_force)


def build_chronicle(collection: Callable[[str], Collection], writer: LogWriter, numbers: Numbers) -> Chronicle:
    changes, trail = Changes(collection(CHANGES)), Trail(collection(TRAIL))
    ledgers = Ledgers(collection(SIZES), collection(FLOWS))
    remaking = Remaking(collection(WANTED), changes, ledgers, trail)
    return Chronicle(changes, ledgers, trail, Snapshot(changes, writer, numbers, wall_clock), remaking, wall_clock)


async def follow(premises: Premises) -> None:
    """The chronicle beside the worker, until cancelled. FatalError: an operator must help."""
    await premises.kafka.check(CHRONICLE.inputs)
    writer = await premises.kafka.writer()
    chronicle = build_chronicle(premises.collection, writer, premises.documents.sequences)
    retry = Retry(asyncio.sleep, wall_clock, random.Random())  # noqa: S311 - jitter, not a secret
    make_reader = partial(premises.kafka.reader, CHRONICLE.group, CHRONICLE.inputs)
    await Follower(make_reader, chronicle, retry, premises.busy, asyncio.sleep).run()


COLLECTIONS = {CHANGES: CHANGES_INDEXES, SIZES: (), FLOWS: FLOWS_INDEXES, TRAIL: TRAIL_INDEXES, WANTED: ()}

SERVICE = Service("segmentation", build_domain, lambda _config: INDEXES, build_router, COLLECTIONS, follow)
