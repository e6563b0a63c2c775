"""The segmentation domain as the engine runs it."""

from pathlib import Path

from services.segmentation.domain import SegmentationDomain
from services.segmentation.program import compile_rules
from services.segmentation.rules import load_rates, load_rules


def build_domain(config_dir: Path) -> SegmentationDomain:
    """Reads `segmentation.yaml` and `exchange_rates.yaml`. Raises RulesError that names file, line, path and expectation."""
    rules, rates = load_rules(config_dir / "segmentation.yaml"), load_rates(config_dir / "exchange_rates.yaml")
    return SegmentationDomain(compile_rules(rules, rates))
