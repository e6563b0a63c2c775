"""Which partition a key belongs to: murmur2, as every Kafka client's default partitioner computes it."""

_MULTIPLIER = 0x5BD1E995
_SEED = 0x9747B28C
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The unsigned 32-bit hash that Kafka's own clients use (Java's `Utils.murmur2`)."""
    length = len(data)
    whole = length & ~3
    digest = (_SEED ^ length) & _MASK
    for start in range(0, whole, 4):
        block = int.from_bytes(data[start : start + 4], "little") * _MULTIPLIER & _MASK
        block = (block ^ (block >> 24)) * _MULTIPLIER & _MASK
        digest = (digest * _MULTIPLIER & _MASK) ^ block
    if length > whole:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    digest = (digest ^ (digest >> 13)) * _MULTIPLIER & _MASK
    return digest ^ (digest >> 15)


def partition_of(key: bytes | None, partitions: int) -> int:
    """0 without a key: nothing about such records needs spreading, and the answer stays the same on every machine."""
    return 0 if key is None else (murmur2(key) & 0x7FFFFFFF) % partitions
