"""Follow-up as one whole: the domain, its store's indexes, its routes."""

from fastapi import APIRouter

from services.followup import api
from services.followup.processor import build_domain
from services.followup.store import INDEXES, FollowupQueries
from shared.clock import wall_clock
from shared.processing.mongo import Documents
from shared.processing.service import Service
from shared.settings import Settings
from shared.web.freshness import Freshness


def build_router(documents: Documents, freshness: Freshness) -> APIRouter:
    domain = build_domain(Settings.from_environment().config_dir)
    queries = FollowupQueries(documents, domain.section)
    return api.build_router(api.Reads(queries, freshness, domain.rules, domain.calendar, wall_clock))


SERVICE = Service("followup", build_domain, INDEXES, build_router)
