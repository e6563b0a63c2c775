"""Event contracts: the only thing through which the services know each other."""
