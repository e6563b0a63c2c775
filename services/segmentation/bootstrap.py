"""Segmentation put together."""

from fastapi import APIRouter

from services.segmentation import api
from services.segmentation.processor import build_domain
from services.segmentation.store import INDEXES, SegmentationQueries
from shared.processing.service import Premises, Service


def build_router(premises: Premises) -> APIRouter:
    domain = build_domain(premises.settings.config_dir)
    return api.build_router(SegmentationQueries(premises.documents), premises.freshness, domain)


SERVICE = Service("segmentation", build_domain, lambda _config: INDEXES, build_router)
