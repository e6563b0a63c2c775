"""What differs between two versions of the rules: which parts, as people wrote them, and which dimensions that can touch."""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from services.segmentation.language.source import one_line, read_yaml
from services.segmentation.rules import Rules

SECTIONS = ("streams", "metrics", "dimensions", "composites")
"""Where named things stand; what one of them mentions, it depends on."""
COMPOSITE = "composites."
"""How a composite is called among dimensions."""

_WORD = re.compile(r"\w+")
_ABSENT = object()

Part = tuple[str, str]
"""Section and name."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` as errors name it; None: not there."""

    path: str
    what: Literal["added", "removed", "changed"]
    before: str | None
    after: str | None


class Written:
    """A rules file as plain data, spelled as its author did; lists of one and the one alone are the same."""

    def __init__(self, text: str) -> None:
        self.document: Mapping[str, Any] = read_yaml(text, "the rules")[0]
        self.parts: dict[Part, Any] = {
            (section, str(name)): body
            for section in SECTIONS
            for name, body in (self.document.get(section) or {}).items()
        }
        self._mentions = {part: set(_words(body)) for part, body in self.parts.items()}

    @property
    def frame(self) -> dict[str, Any]:
        """What stands outside the sections; `version` is a label."""
        return {name: body for name, body in self.document.items() if name not in SECTIONS and name != "version"}

    def resting_on(self, names: Set[str]) -> set[str]:
        """These names and all that mentions them, directly or not."""
        found = set(names)
        while more := {name for (_, name), words in self._mentions.items() if words & found} - found:
            found |= more
        return found

    def needed_by(self, names: Set[str]) -> set[str]:
        """These names and all that they mention, directly or not."""
        found: set[str] = set()
        while more := names - found:
            found |= more
            names = {word for (_, name), words in self._mentions.items() if name in more for word in words}
        return found


def differences(before: Written, after: Written) -> list[Difference]:
    """Part by part, in the order of the files."""
    found = list(_compared("", before.frame, after.frame))
    for section in SECTIONS:
        names = dict.fromkeys(name for where, name in (*before.parts, *after.parts) if where == section)
        for name in names:
            old, new = (one.parts.get((section, name), _ABSENT) for one in (before, after))
            found += _compared(f"{section}.{name}", old, new)
    return found


def touched(before: Written, after: Written) -> set[str]:
    """Names of what may mean something else now: what was rewritten, and whatever rests on it. Notes change nothing."""
    if _meaning(before.frame) != _meaning(after.frame):
        return {name for one in (before, after) for _, name in one.parts}
    rewritten = {
        name
        for section, name in before.parts.keys() | after.parts.keys()
        if _differs(before.parts.get((section, name), _ABSENT), after.parts.get((section, name), _ABSENT))
    }
    return before.resting_on(rewritten) | after.resting_on(rewritten)


def dimensions_of(written: Written, names: Set[str]) -> list[str]:
    """Those of the names that customers are in: dimensions, and composites under their prefix."""
    found = [(section, name) for section, name in written.parts if name in names]
    return [name for section, name in found if section == "dimensions"] + [
        f"{COMPOSITE}{name}" for section, name in found if section == "composites"
    ]


def restricted(rules: Rules, written: Written, names: Set[str]) -> Rules:
    """The same rules without what these names do not need: for them it decides the same, and sooner."""
    kept = written.needed_by(names)
    sections = {section: getattr(rules, section, None) for section in SECTIONS}
    return rules.model_copy(
        update={
            section: {name: body for name, body in bodies.items() if name in kept}
            for section, bodies in sections.items()
            if bodies
        }
    )


def _compared(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if not _differs(before, after, noted=True):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            below = f"{path}.{name}" if path else str(name)
            yield from _compared(below, before.get(name, _ABSENT), after.get(name, _ABSENT))
    elif _named(before) and _named(after):
        yield from _reordered(path, _by_name(before), _by_name(after))
        yield from _compared(path, _by_name(before), _by_name(after))
    elif _parts(before) and _parts(after):
        yield from _entries(path, before, after)
    elif before is _ABSENT:
        yield Difference(path, "added", None, _text(after))
    elif after is _ABSENT:
        yield Difference(path, "removed", _text(before), None)
    else:
        yield Difference(path, "changed", _text(before), _text(after))


def _entries(path: str, before: list[Any], after: list[Any]) -> Iterator[Difference]:
    """Of a list whose entries have no names: those that came, those that went, those that were rewritten."""
    texts = [[_text(entry) for entry in entries] for entries in (before, after)]
    for what, a, b, c, d in SequenceMatcher(None, texts[0], texts[1], autojunk=False).get_opcodes():
        if what == "replace" and b - a == d - c:
            for offset in range(b - a):
                yield from _compared(f"{path}[{c + offset}]", before[a + offset], after[c + offset])
        elif what != "equal":
            yield from (Difference(f"{path}[{index}]", "removed", texts[0][index], None) for index in range(a, b))
            yield from (Difference(f"{path}[{index}]", "added", None, texts[1][index]) for index in range(c, d))


def _reordered(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The first case that holds decides, so their order is part of the meaning."""
    old, new = [name for name in before if name in after], [name for name in after if name in before]
    if old != new:
        yield Difference(f"{path}.order", "changed", ", ".join(old), ", ".join(new))


def _differs(before: Any, after: Any, *, noted: bool = False) -> bool:
    if before is _ABSENT or after is _ABSENT:
        return before is not after
    return bool(_meaning(before, noted=noted) != _meaning(after, noted=noted))


def _meaning(body: Any, *, noted: bool = False) -> Any:
    """Without the notes, unless asked for."""
    if isinstance(body, Mapping):
        # Pairs, because the order of cases, steps and entries decides.
        return [(str(k), _meaning(v, noted=noted)) for k, v in body.items() if noted or k != "note"]
    if isinstance(body, list):
        return _meaning(body[0], noted=noted) if len(body) == 1 else [_meaning(one, noted=noted) for one in body]
    return body


def _words(body: Any) -> Iterator[str]:
    """Of all that is said, but for notes; keys are the language's own words, or fields of events."""
    if isinstance(body, str):
        yield from _WORD.findall(body)
    elif isinstance(body, list):
        for one in body:
            yield from _words(one)
    elif isinstance(body, Mapping):
        for key, one in body.items():
            if key != "note":
                yield from _words(one)


def _named(body: Any) -> bool:
    """A list of cases, each with a value of its own, in an order that decides."""
    return isinstance(body, list) and all(isinstance(one, Mapping) and "value" in one for one in body)


def _parts(body: Any) -> bool:
    return isinstance(body, list) and all(isinstance(one, Mapping) for one in body)


def _by_name(cases: list[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for case in cases:
        name = str(case["value"])
        while name in found:
            name += " (again)"
        found[name] = {key: body for key, body in case.items() if key != "value"}
    return found


def _text(body: Any) -> str:
    return body if isinstance(body, str) else one_line(body)
