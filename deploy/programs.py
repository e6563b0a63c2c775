"""What runs as processes of its own: the four services, and what sends webhooks, which belongs to segmentation."""

from shared.events.catalog import DELIVER, SERVICES, Topic, group_of, inputs_of

WEBHOOKS = "webhooks"
PROGRAMS = (*SERVICES, WEBHOOKS)


def arguments(program: str) -> tuple[str, ...]:
    """After `python -m`."""
    return (f"services.{DELIVER.service}", DELIVER.name) if program == WEBHOOKS else (f"services.{program}", "run")


def reads(program: str) -> tuple[str, tuple[Topic, ...]]:
    """Its consumer group, and of which topics."""
    return (DELIVER.group, DELIVER.topics) if program == WEBHOOKS else (group_of(program), inputs_of(program))


def reader(group: str) -> str:
    """The program whose processes read as this consumer group; a follower is a part of its service's."""
    return WEBHOOKS if group == DELIVER.group else group.split(".")[1]
