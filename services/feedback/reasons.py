"""The codes that say why, on events, in timelines and in ledgers; the texts that people read are in the rules' file."""

from typing import Literal, get_args

Reason = Literal[
    "opened",
    "reopened",
    "resumed",
    "severity_changed",
    "time_zone",
    "acknowledge_missed",
    "resolve_missed",
    "requested",
    "confirmed",
    "no_answer",
    "erased",
    "unknown_case",
    "too_many_open",
    "while_received",
    "while_acknowledged",
    "while_assigned",
    "while_waiting",
    "while_reopened",
    "while_resolved",
    "while_confirmed",
    "while_closed",
    "to_missing",
    "already_assigned",
    "severity_unknown",
    "severity_unchanged",
    "waiting_unknown",
    "too_late_to_reopen",
    "last_step",
]

REASONS: tuple[Reason, ...] = get_args(Reason)
