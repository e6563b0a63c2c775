"""Follow-up: promises contacts with customers, says exactly once when each is due, and what became of it.

Purpose: keeps the company's contact promises by playbooks (rules as data, `deploy/config/followup.yaml`): the first
  contact after an inquiry, regular contact by segment, contacts that were agreed.
Consumes: guanxi.customers.v1, guanxi.feedback.v1, guanxi.segments.v1
Publishes: guanxi.followups.v1, guanxi.wakeups.v1, guanxi.followup.dead-letters.v1
Store: one document per customer: the open tasks (at most one per playbook), the newest closed ones (10 by default), the
  last contact, and the few facts that decide (time zone, owner, denied channels, segments of the playbooks).
Promises: a task ends exactly once (completed, missed or cancelled with a reason). It is due once for each instant at
  which it was to be due, never before it and never after its end. What staff ask and cannot be is answered with the
  reason. History teaches, but makes no tasks.
"""
