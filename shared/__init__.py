"""What the services share: event schemas, the processing engine, and the manners of HTTP, logs and keys. Knows no service."""
