"""The segmentation domain as the engine runs it."""

from pathlib import Path

from services.segmentation.rules import load_rates, load_rules
from services.segmentation.versions import VersionedSegmentation


def build_domain(config_dir: Path) -> VersionedSegmentation:
    """Reads `segmentation.yaml` and `exchange_rates.yaml`. Raises RulesError that names file, line, path and expectation."""
    rules, rates = load_rules(config_dir / "segmentation.yaml"), load_rates(config_dir / "exchange_rates.yaml")
    return VersionedSegmentation(rules, rates)
