"""Segmentation put together."""

from fastapi import APIRouter

from services.segmentation import api
from services.segmentation.processor import build_domain
from services.segmentation.store import INDEXES, Documents, SegmentationQueries
from shared.processing.service import Service
from shared.settings import Settings
from shared.web.freshness import Freshness


def build_router(documents: Documents, freshness: Freshness) -> APIRouter:
    domain = build_domain(Settings.from_environment().config_dir)
    return api.build_router(SegmentationQueries(documents), freshness, domain)


SERVICE = Service("segmentation", build_domain, INDEXES, build_router)
