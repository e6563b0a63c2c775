"""The deliverer: a process of its own that follows the changes and calls subscribers who have no Kafka."""
