"""What the services share: event schemas, the processing engine, manners of HTTP, logs and keys. Knows no service."""
