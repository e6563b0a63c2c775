"""The only write door: takes in what customers say and do, checks, identifies, seals, and appends it to one ordered stream.

Purpose: every accepted event is in the log once and in order per customer, under the right customer, without personal data in clear.
Consumes: guanxi.wakeups.v1, guanxi.segments.v1, guanxi.followups.v1, guanxi.feedback.v1
Publishes: guanxi.customers.v1, guanxi.subscriptions.v1, guanxi.intake.dead-letters.v1
Store: batches, claims, identities, customers, keys, imports, receipts, versions of the rules, subscriptions (database guanxi_intake)
Promises: 202 only after Kafka's acknowledgement; the same event sent again gets the same answer and is published once;
two intakes at once register one customer once; one customer's events stand in the log in the order of their acknowledgement;
an erased customer's sealed values are unreadable at once, everywhere.
"""
