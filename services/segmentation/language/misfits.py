"""What does not fit together in the rules, said with the path and the nearest right spelling."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

Found = TypeVar("Found")


class Misfit(Exception):
    """What does not fit together, and at which path of the rules."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path, self.message = path, message


def named(path: str, name: str, known: Mapping[str, Found], later: Iterable[str] = ()) -> Found:
    """`later`: names that are in the file too, but stand further down."""
    if name in known:
        return known[name]
    if name in later:
        raise Misfit(
            path, f"{name!r} stands further down; what is named must stand further up, so that nothing goes round"
        )
    raise Misfit(path, unknown(name, known))


def unknown(name: str, known: Iterable[str]) -> str:
    listed = sorted(known)
    near = get_close_matches(name, listed, n=1)
    if near:
        return f"{name!r} is not known; did you mean {near[0]!r}?"
    return f"{name!r} is not known; " + (f"known are {', '.join(listed)}" if listed else "there is none to name")
