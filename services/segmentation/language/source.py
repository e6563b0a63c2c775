"""The text that rules are read from: YAML with lines, so that an error can say where in the file it is."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from shared.config_files import ConfigError

Location = tuple[int | str, ...]


class RulesError(ConfigError):
    """Names the file, the line and path inside it, what is wrong and what was expected."""


class _Loader(yaml.SafeLoader):
    """Only `true` and `false` are booleans: `on`, `no` and `yes` are words that rules use. A key given twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _words(first: str, resolvers: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [pair for pair in resolvers if first in "tTfF" or pair[0] != "tag:yaml.org,2002:bool"]


_Loader.yaml_implicit_resolvers = {
    first: _words(first, resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """Writes words as the loader reads them: `on` without quotes."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def one_line(body: Any) -> str:
    """A part of a document as people would write it into one line."""
    text: str = yaml.dump(
        body, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False
    )
    return text.removesuffix("...\n").strip()


@dataclass(frozen=True, slots=True)
class Source:
    """`name`: what errors call the file. `lines`: from 1, by path, as `dimensions.value.cases[2].when`."""

    name: str
    text: str
    digest: str
    lines: dict[str, int]

    def error(self, path: str, message: str) -> str:
        line = self._line(path)
        where = self.name if line is None else f"{self.name}:{line}"
        return f"{where}: {path or 'the file'}: {message}"

    def _line(self, path: str) -> int | None:
        """Of the path or, where the file has no such place, of the nearest one above it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


def read_yaml(text: str, name: str) -> tuple[Any, Source]:
    """The document and where its parts are. Raises RulesError where it is no YAML."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines = _lines(node, name)
        document = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise RulesError(f"{name}{line}: no YAML: {error.problem}") from None
    except RecursionError:
        raise RulesError(f"{name}: no YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: what looks like a date and is none
        raise RulesError(f"{name}: no YAML: {' '.join(str(error).split())}") from None
    return document, Source(name, text, hashlib.sha256(text.encode()).hexdigest(), lines)


def _lines(node: yaml.Node | None, name: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    for path, line, round_again in () if node is None else _places(node, "", node.start_mark.line + 1, ()):
        if round_again:
            raise RulesError(f"{name}:{line}: {path}: an alias goes round")
        lines[path] = line
    return lines


def _places(node: yaml.Node, path: str, line: int, above: tuple[yaml.Node, ...]) -> Iterator[tuple[str, int, bool]]:
    """Path and line of every part, and whether it is one of those that it is in."""
    yield path, line, node in above
    inside = (*above, node)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = f"{path}.{key.value}" if path else str(key.value)
            yield from _places(value, inner, key.start_mark.line + 1, inside)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _places(value, f"{path}[{index}]", value.start_mark.line + 1, inside)


def path_of(location: Location, lines: dict[str, int]) -> str:
    """A validator's location as a path of the file; what it puts in between (names of variants) is left out.

    A variant may be called as one of its keys is: then the way that leads to the end is the right one.
    """
    ways = [""]
    for part in location[:-1]:
        ways += [inner for way in ways if (inner := _inner(way, part)) in lines]
    if not location:
        return ""
    ends = {_inner(way, location[-1]): way for way in ways}
    there = [end for end in ends if end in lines]
    under = [end for end, way in ends.items() if any(line.startswith(f"{way}.") for line in lines)]
    return max(there or under or ways, key=len)


def _inner(path: str, part: int | str) -> str:
    return f"{path}[{part}]" if isinstance(part, int) else f"{path}.{part}".removeprefix(".")
