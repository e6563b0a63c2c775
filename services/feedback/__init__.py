"""Feedback: drives every complaint and suggestion to an answer in time.

Purpose: opens a case for each complaint or suggestion, holds it to its deadlines, escalates, asks how satisfied, closes.
Consumes: guanxi.customers.v1, guanxi.segments.v1
Publishes: guanxi.feedback.v1, guanxi.wakeups.v1, guanxi.feedback.dead-letters.v1
Store: guanxi_feedback: one document per customer with its cases, timelines and deadline ledgers; the newest closed cases are kept.
Promises: a missed deadline is told exactly once, at its instant; time used stays used across severities, waits and policies;
an action that cannot be is answered with its reason.
"""
