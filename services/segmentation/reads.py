"""What the reading routes ask, together."""

from dataclasses import dataclass

from services.segmentation.as_of import AsOf
from services.segmentation.changes import Changes
from services.segmentation.feed import Feed
from services.segmentation.followed import Followed
from services.segmentation.ledgers import Ledgers
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
