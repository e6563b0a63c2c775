"""Manners of HTTP that all services share: problems, keys, health, metrics, freshness. Routes are the services' own."""
