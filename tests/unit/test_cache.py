"""The cache of documents is bounded by their number and by their weight; what was used last stays."""

from shared.processing.cache import DECODED, FRAME, DocumentCache
from shared.processing.document import Document, Entry


def of(name: str, size: int = 1) -> Document:
    return Document(name, state="x" * size, outbox=(Entry("", "y" * size),))


def weight(size: int) -> int:
    """Of what `of` makes."""
    return FRAME + (DECODED + 1) * size


def test_the_least_recently_used_goes_when_there_are_too_many() -> None:
    cache = DocumentCache(2)
    for name in ("a", "b"):
        cache.put(of(name), None)
    assert cache.get("a") is not None
    cache.put(of("c"), None)
    assert [cache.get(name) is not None for name in "abc"] == [True, False, True]


def test_large_documents_leave_room_for_fewer() -> None:
    cache = DocumentCache(100, most_bytes=5 * weight(100))
    for number in range(10):
        cache.put(of(str(number), 100), None)
    assert len(cache) == 5
    cache.put(of("9", 100 + 3 * weight(100) // (DECODED + 1)), None)
    assert [name for name in map(str, range(10)) if cache.get(name)] == ["8", "9"]


def test_a_state_weighs_more_than_an_outbox_of_the_same_text() -> None:
    cache = DocumentCache(100, most_bytes=10 * weight(1_000))
    for number in range(20):
        cache.put(Document(str(number), outbox=(Entry("", "y" * 1_000),)), None)
    many = len(cache)
    for number in range(20):
        cache.put(Document(str(number), state="x" * 1_000), None)
    assert len(cache) < many


def test_what_left_weighs_nothing_any_more() -> None:
    cache = DocumentCache(100, most_bytes=5 * weight(100))
    for _ in range(20):
        for name in "abcde":
            cache.put(of(name, 100), None)
        cache.sent("a", 0)
        cache.empty(0)
    for name in "abcde":
        cache.put(of(name, 100), None)
    assert len(cache) == 5
    cache.put(of("huge", 5 * weight(100)), None)
    assert len(cache) == 0
