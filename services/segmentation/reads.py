"""What the reading routes ask, together."""

from dataclasses import dataclass

from services.segmentation.chronicle.as_of import AsOf
from services.segmentation.chronicle.changes import Changes
from services.segmentation.chronicle.feed import Feed
from services.segmentation.chronicle.followed import Followed
from services.segmentation.chronicle.ledgers import Ledgers
from services.segmentation.rules_in_force import RulesInForce
from services.segmentation.store import SegmentationQueries
from shared.web.freshness import Freshness


@dataclass(frozen=True, slots=True)
class Reads:
    """`freshness` is of the documents, `followed` of everything that the chronicle keeps."""

    in_force: RulesInForce
    queries: SegmentationQueries
    freshness: Freshness
    followed: Followed
    changes: Changes
    ledgers: Ledgers
    as_of: AsOf
    feed: Feed
