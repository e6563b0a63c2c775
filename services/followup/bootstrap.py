"""Follow-up as one whole: the domain, its store's indexes, its routes."""

from fastapi import APIRouter

from services.followup import api
from services.followup.processor import build_domain
from services.followup.store import INDEXES, FollowupQueries
from shared.clock import wall_clock
from shared.processing.service import Premises, Service


def build_router(premises: Premises) -> APIRouter:
    domain = build_domain(premises.settings.config_dir)
    queries = FollowupQueries(premises.documents, domain.section)
    return api.build_router(api.Reads(queries, premises.freshness, domain.rules, domain.calendar, wall_clock))


SERVICE = Service("followup", build_domain, lambda _config: INDEXES, build_router)
