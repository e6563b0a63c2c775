"""Feedback, put together: what the frame of all services runs."""

from fastapi import APIRouter

from services.feedback.api import build_router
from services.feedback.processor import build_domain
from services.feedback.rules import load_rules
from services.feedback.store import INDEXES, FeedbackQueries
from shared.processing.service import Premises, Service


def _router(premises: Premises) -> APIRouter:
    rules = load_rules(premises.settings.config_dir / "feedback.yaml")
    return build_router(FeedbackQueries(premises.documents), premises.freshness, rules)


SERVICE = Service("feedback", build_domain, lambda _config: INDEXES, _router)
