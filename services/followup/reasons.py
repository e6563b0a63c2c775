"""The codes that say why, on events and in answers; the texts that people read are in the playbooks' file."""

from typing import Literal, get_args

Reason = Literal[
    "inquiry",
    "promise",
    "cadence",
    "completed",
    "contact_made",
    "deadline_passed",
    "contacted",
    "promised_anew",
    "segment_ended",
    "segment_changed",
    "time_zone",
    "consent_denied",
    "objected",
    "merged",
    "erased",
    "skipped",
    "rescheduled",
    "claimed",
    "assigned",
    "unknown_task",
    "already_completed",
    "already_missed",
    "already_cancelled",
    "until_missing",
    "until_past",
    "until_too_far",
    "to_missing",
]

REASONS: tuple[Reason, ...] = get_args(Reason)
