"""Feedback, put together: what the frame of all services runs."""

from fastapi import APIRouter

from services.feedback.api import build_router
from services.feedback.processor import build_domain
from services.feedback.rules import load_rules
from services.feedback.store import INDEXES, FeedbackQueries
from shared.processing.mongo import Documents
from shared.processing.service import Service
from shared.settings import Settings
from shared.web.freshness import Freshness


def _router(documents: Documents, freshness: Freshness) -> APIRouter:
    rules = load_rules(Settings.from_environment().config_dir / "feedback.yaml")
    return build_router(FeedbackQueries(documents), freshness, rules)


SERVICE = Service("feedback", build_domain, INDEXES, _router)
