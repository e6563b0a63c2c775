"""HTTP manners of all services: problems, keys and scopes, health, freshness."""
