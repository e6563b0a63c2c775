"""The domain as the engine runs it, from the files of a configuration directory."""

from pathlib import Path

from services.feedback.domain import FeedbackDomain
from services.feedback.rules import load_rules
from shared.calendar import load_calendar


def build_domain(config_dir: Path) -> FeedbackDomain:
    """Raises RulesError or ValueError, which name the file and what is wrong in it."""
    return FeedbackDomain(load_rules(config_dir / "feedback.yaml"), load_calendar(config_dir))
