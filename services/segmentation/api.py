"""What others may read: customers' segments and why, how large segments are, who is in them, all changes, the rules."""

from fastapi import APIRouter, Depends

from services.segmentation import customer_api, rules_api, segments_api
from services.segmentation.reads import Reads
from shared.web.keys import requires


def build_router(reads: Reads) -> APIRouter:
    router = APIRouter(prefix="/v1", dependencies=[Depends(requires("read"))])
    customer_api.add_routes(router, reads)
    segments_api.add_routes(router, reads)
    rules_api.add_routes(router, reads.in_force)
    return router
