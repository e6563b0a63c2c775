"""Each service's canvas (its package docstring) says just what the catalogue says, and what a newcomer needs."""

import importlib
import re

import pytest

from shared.events.catalog import SERVICES, TOPICS, followed_by

PARTS = ("Purpose", "Consumes", "Publishes", "Store", "Promises")


def canvas(service: str) -> dict[str, str]:
    """Part to text; a part goes on until the next one begins."""
    docstring = importlib.import_module(f"services.{service}").__doc__ or ""
    pieces = re.split(rf"^({'|'.join(PARTS)}):", docstring, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def topics(text: str) -> set[str]:
    return {word.strip() for word in text.split(",")}


@pytest.mark.parametrize("service", SERVICES)
def test_a_canvas_has_every_part(service: str) -> None:
    parts = canvas(service)
    assert tuple(parts) == PARTS
    assert all(len(text.split()) > 0 for text in parts.values())


@pytest.mark.parametrize("service", SERVICES)
def test_a_canvas_names_what_is_consumed(service: str) -> None:
    merged = {topic.name for topic in TOPICS if service in topic.consumers}
    assert topics(canvas(service)["Consumes"]) == merged | {topic.name for topic in followed_by(service)}


@pytest.mark.parametrize("service", SERVICES)
def test_a_canvas_names_what_is_published(service: str) -> None:
    assert topics(canvas(service)["Publishes"]) == {topic.name for topic in TOPICS if service in topic.producers}
