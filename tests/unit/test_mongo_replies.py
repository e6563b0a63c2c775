"""What a reply to a write command means to our ports: one rule for documents and for collections beside them."""

from typing import Any

import pytest

from shared.processing.mongo_connection import HeldError, check_written
from shared.processing.ports import FatalError, TransientError


def reply(*codes: int, **more: Any) -> dict[str, Any]:
    return {"n": 1, "writeErrors": [{"index": i, "code": code} for i, code in enumerate(codes)], **more}


@pytest.mark.parametrize("code", [50, 112])
def test_a_row_that_another_transaction_holds_is_tried_again(code: int) -> None:
    with pytest.raises(HeldError, match="held by another"):
        check_written("writing members", reply(11_000, code))


@pytest.mark.parametrize("answer", [reply(10_107), reply(writeConcernError={"code": 64})])
def test_what_was_not_acknowledged_is_tried_again(answer: dict[str, Any]) -> None:
    with pytest.raises(TransientError, match="not acknowledged"):
        check_written("writing members", answer)


def test_what_the_store_cannot_do_at_all_stops_the_worker_and_says_the_code() -> None:
    with pytest.raises(FatalError, match=r"writing members: .* \[17280\]"):
        check_written("writing members", reply(17_280))


def test_a_key_that_is_there_already_is_no_error() -> None:
    check_written("writing members", reply(11_000, 11_000))
