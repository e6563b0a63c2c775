"""Rows of a CSV file, read strictly: what is no CSV costs its own line and takes no other along."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import TextIO


class _Lines:
    """The lines of a file from which a row is read, and to which the reader goes back when it was none."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self._row: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self._row.append(line)
        self.number += 1
        return line

    def begin(self) -> None:
        self._row.clear()

    def give_up(self) -> int:
        """The number of the row's first line, after which reading goes on."""
        rest = self._row[1:]
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
        return self.number


def csv_rows(file: TextIO) -> Iterator[tuple[int, list[str] | None]]:
    """Cells with the number of the row's last line, from 1; None for a line that is no row, such as one whose quote stays
    open: how far that reaches is limited by the longest cell that `csv` reads."""
    lines = _Lines(file)
    reader = csv.reader(lines, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield lines.give_up(), None
            continue
        if cells:
            yield lines.number, cells
