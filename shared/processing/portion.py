"""How much may be taken on at once."""

from shared.clock import Instant

FEWEST = 50


class Portion:
    """Half as much after a turn that took longer than `long` milliseconds, a quarter more after one of less than half of that."""

    def __init__(self, first: int, most: int, long: Instant) -> None:
        self.size = min(first, most)
        self._most = most
        self._long = long

    def fit(self, took: Instant) -> None:
        """`took`: milliseconds of the turn."""
        if took > self._long:
            self.size = min(max(self.size // 2, FEWEST), self._most)
        elif took < self._long // 2:
            self.size = min(self.size + self.size // 4 + 1, self._most)
