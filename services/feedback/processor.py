"""The domain as the engine runs it, from the files of a configuration directory."""

from pathlib import Path

from services.feedback.domain import FeedbackDomain
from services.feedback.rules import load_rules
from shared.calendar import load_calendar


def build_domain(config_dir: Path) -> FeedbackDomain:
    """Raises ConfigError."""
    return FeedbackDomain(load_rules(config_dir / "feedback.yaml"), load_calendar(config_dir))
