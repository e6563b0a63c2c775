"""Segmentation put together."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fastapi import APIRouter

from services.segmentation import api
from services.segmentation.chronicle.as_of import AsOf
from services.segmentation.chronicle.changes import CHANGES, CHANGES_INDEXES, Changes
from services.segmentation.chronicle.feed import Feed
from services.segmentation.chronicle.followed import Followed
from services.segmentation.chronicle.ledgers import FLOWS, FLOWS_INDEXES, SIZES, Ledgers
from services.segmentation.chronicle.listener import Chronicle
from services.segmentation.chronicle.members import MEMBERS, MEMBERS_INDEXES, Members
from services.segmentation.chronicle.remaking import WANTED, Remaking
from services.segmentation.chronicle.snapshot import Numbers, Snapshot
from services.segmentation.chronicle.trail import TRAIL, TRAIL_INDEXES, Trail
from services.segmentation.processor import build_domain
from services.segmentation.reads import Reads
from services.segmentation.rules_in_force import RulesInForce
from services.segmentation.store import SegmentationQueries
from shared.clock import wall_clock
from shared.events.catalog import CHRONICLE
from shared.processing.follower import GATHER_MS, Follower
from shared.processing.mongo import Collection, Index
from shared.processing.ports import LogWriter
from shared.processing.retry import Retry
from shared.processing.service import Premises, Service


def build_router(premises: Premises) -> APIRouter:
    domain = build_domain(premises.settings.config_dir)
    changes, trail = Changes(premises.collection(CHANGES)), Trail(premises.collection(TRAIL))
    ledgers = Ledgers(premises.collection(SIZES), premises.collection(FLOWS))
    followed = Followed(ledgers, premises.kafka.lag().ends, premises.freshness, wall_clock)
    queries = SegmentationQueries(premises.documents, Members(premises.collection(MEMBERS)))
    as_of = AsOf(trail, premises.kafka.scanner())
    feed = Feed(changes, followed.offsets)
    in_force = RulesInForce(domain, premises.versions)
    return api.build_router(Reads(in_force, queries, premises.freshness, followed, changes, ledgers, as_of, feed))


def indexes(_config_dir: Path) -> tuple[Index, ...]:
    """None over the documents: each would make every write of the live path heavier, and a transaction of many documents
    with an index per dimension is too large for a small store's cache."""
    return ()


def build_chronicle(collection: Callable[[str], Collection], writer: LogWriter, numbers: Numbers) -> Chronicle:
    changes, trail = Changes(collection(CHANGES)), Trail(collection(TRAIL))
    members, ledgers = Members(collection(MEMBERS)), Ledgers(collection(SIZES), collection(FLOWS))
    remaking = Remaking(collection(WANTED), changes, members, ledgers, trail)
    return Chronicle(
        changes, members, ledgers, trail, Snapshot(changes, writer, numbers, wall_clock), remaking, wall_clock
    )


async def follow(premises: Premises) -> None:
    """The chronicle beside the worker, until cancelled. FatalError: an operator must help."""
    await premises.kafka.check(CHRONICLE.inputs)
    writer = await premises.kafka.writer()
    chronicle = build_chronicle(premises.collection, writer, premises.documents.sequences)
    retry = Retry(asyncio.sleep, wall_clock, random.Random())  # noqa: S311 - jitter, not a secret
    make_reader = partial(premises.kafka.reader, CHRONICLE.group, CHRONICLE.inputs, GATHER_MS)
    await Follower(make_reader, chronicle, retry, premises.busy, asyncio.sleep).run()


COLLECTIONS = {
    CHANGES: CHANGES_INDEXES,
    MEMBERS: MEMBERS_INDEXES,
    SIZES: (),
    FLOWS: FLOWS_INDEXES,
    TRAIL: TRAIL_INDEXES,
    WANTED: (),
}

SERVICE = Service("segmentation", build_domain, indexes, build_router, COLLECTIONS, follow)
