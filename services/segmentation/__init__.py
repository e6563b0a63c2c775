"""Segmentation: which segments a customer is in, since when, why, and at which instant that changes.

Purpose: keeps every customer's dimensions (rules as data, `deploy/config/segmentation.yaml`) true at every instant.
Consumes: guanxi.customers.v1, guanxi.segments.v1, guanxi.segments.latest.v1, guanxi.subscriptions.v1
Publishes: guanxi.segments.v1, guanxi.segments.latest.v1, guanxi.wakeups.v1, guanxi.segmentation.dead-letters.v1
Store: one document per customer: what the rules in force read of it (orders, entries of streams, facets), memberships
  and composites with their beginnings, the newest changes, the next instant at which time alone changes something;
  and the chronicle, fed by a follower of what was said: changes, members, sizes, flows, trails.
Promises: a change is published at the exact instant at which the rule says so, with the values, thresholds and events
  that made it, numbered per customer without gaps, each with the whole memberships. Money is exact.
"""
