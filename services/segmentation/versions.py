"""The domain of one version of the rules, and how another version succeeds it."""

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.program import compile_rules
from services.segmentation.measures.money import Rates
from services.segmentation.rules import Rules, RulesError, parse_rules
from shared.events.customers import RulesActivated
from shared.processing.domain import FIRST_VERSION
from shared.processing.ports import FatalError


class VersionedSegmentation(SegmentationDomain):
    """`rules_version` is the number; that of the first version is what its file calls itself. Exchange rates are no part of
    a version: they are facts that all versions share."""

    def __init__(self, rules: Rules, rates: Rates, number: int = FIRST_VERSION) -> None:
        """RulesError where the rules do not fit together."""
        label = rules.version if number == FIRST_VERSION else str(number)
        super().__init__(compile_rules(rules.model_copy(update={"version": label}), rates))
        self.written = RulesActivated(number=number, rules=rules.text, digest=rules.digest)
        self._rates = rates

    def succeeded_by(self, written: RulesActivated) -> "VersionedSegmentation":
        try:
            rules = parse_rules(written.rules, f"version {written.number}")
            return VersionedSegmentation(rules, self._rates, written.number)
        except RulesError as error:
            raise FatalError(
                f"the rules of version {written.number} cannot be used, and nothing was changed: {error}\n"
                "run the version of this service that checked them, or mend it and start again"
            ) from error
