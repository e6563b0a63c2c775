"""Follow-up as one whole: the domain, its store's indexes, its routes."""

from fastapi import APIRouter

from services.followup import api
from services.followup.processor import build_domain
from services.followup.store import INDEXES, FollowupQueries
from shared.calendar import load_calendar
from shared.clock import wall_clock
from shared.processing.mongo import Documents
from shared.processing.service import Service
from shared.settings import Settings
from shared.web.freshness import Freshness


def build_router(documents: Documents, freshness: Freshness) -> APIRouter:
    config_dir = Settings.from_environment().config_dir
    domain = build_domain(config_dir)
    queries = FollowupQueries(documents, domain.section)
    return api.build_router(queries, freshness, domain.rules, load_calendar(config_dir), wall_clock)


SERVICE = Service("followup", build_domain, INDEXES, build_router)
