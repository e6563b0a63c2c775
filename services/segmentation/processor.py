"""The segmentation domain as the engine runs it."""

from pathlib import Path

from services.segmentation.domain import SegmentationDomain
from services.segmentation.program import compile_rules
from services.segmentation.rules import RulesError, load_rates, load_rules


def build_domain(config_dir: Path) -> SegmentationDomain:
    """Reads `segmentation.yaml` and `exchange_rates.yaml`. Raises RulesError that names file, path and expectation."""
    path = config_dir / "segmentation.yaml"
    rules, rates = load_rules(path), load_rates(config_dir / "exchange_rates.yaml")
    try:
        return SegmentationDomain(compile_rules(rules, rates))
    except RulesError as error:
        raise RulesError(f"{path}: {error}") from None
