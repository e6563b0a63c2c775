"""Worked examples of downstream systems, run by tests."""
