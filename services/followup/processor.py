"""Follow-up's domain as its configuration makes it."""

from pathlib import Path

from services.followup.domain import FollowupDomain
from services.followup.rules import load_rules
from shared.calendar import load_calendar


def build_domain(config_dir: Path) -> FollowupDomain:
    """Raises ConfigError."""
    return FollowupDomain(load_rules(config_dir / "followup.yaml"), load_calendar(config_dir))
