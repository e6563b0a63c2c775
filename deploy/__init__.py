"""Everything that puts Guanxi onto a machine: the servers it needs, its topics and indexes, its processes, its command line."""
