"""Segmentation put together."""

from fastapi import APIRouter

from services.segmentation import api
from services.segmentation.changes import CHANGES, CHANGES_INDEXES
from services.segmentation.ledgers import FLOWS, FLOWS_INDEXES, SIZES
from services.segmentation.processor import build_domain
from services.segmentation.remaking import WANTED
from services.segmentation.store import INDEXES, SegmentationQueries
from services.segmentation.trail import TRAIL, TRAIL_INDEXES
from shared.processing.service import Premises, Service


def build_router(premises: Premises) -> APIRouter:
    domain = build_domain(premises.settings.config_dir)
    return api.build_router(SegmentationQueries(premises.documents), premises.freshness, domain)


COLLECTIONS = {CHANGES: CHANGES_INDEXES, SIZES: (), FLOWS: FLOWS_INDEXES, TRAIL: TRAIL_INDEXES, WANTED: ()}

SERVICE = Service("segmentation", build_domain, lambda _config: INDEXES, build_router)
