"""What the command line reads from the environment beyond the services' own settings."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shared.settings import Settings, SettingsError, from_home, read_env_file

LAYERS = ("docker", "local")


@dataclass(frozen=True, slots=True)
class Machine:
    """`layer` None: Docker where an engine answers, else local processes. `heap_mb`: Kafka's; from 512 on it gets the
    full compiler too. `environ`: what the services' processes inherit."""

    services: Settings
    cache_dir: Path
    kafka_port: int
    store_port: int
    heap_mb: int
    layer: str | None
    java: Path | None
    store_binary: Path | None
    environ: Mapping[str, str]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, env_file: Path = Path(".env")) -> Self:
        """The environment wins over the file. Raises SettingsError that names what is wrong."""
        found = {**read_env_file(env_file), **environ}
        return cls(
            services=Settings.from_environment(environ, env_file),
            cache_dir=_cache_dir(found),
            kafka_port=_number(found, "GUANXI_KAFKA_PORT", 9092),
            store_port=_number(found, "GUANXI_STORE_PORT", 27017),
            heap_mb=_number(found, "GUANXI_KAFKA_HEAP_MB", 256),
            layer=_layer(found),
            java=_program(found, "GUANXI_JAVA"),
            store_binary=_program(found, "GUANXI_STORE_BINARY"),
            environ=found,
        )

    @property
    def data_dir(self) -> Path:
        return self.services.data_dir.resolve()

    @property
    def named_kafka(self) -> str | None:
        """A server that somebody else runs, where one was given."""
        return self.environ.get("GUANXI_KAFKA_BOOTSTRAP") or None

    @property
    def named_mongo(self) -> str | None:
        return self.environ.get("GUANXI_MONGO_URL") or None


def _cache_dir(found: Mapping[str, str]) -> Path:
    """Outside the clone, so that the next clone finds what this one built."""
    if given := found.get("GUANXI_CACHE_DIR"):
        return from_home(Path(given))
    return Path(found.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guanxi"


def _program(found: Mapping[str, str], name: str) -> Path | None:
    given = found.get(name)
    return from_home(Path(given)) if given else None


def _number(found: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(found.get(name, default))
    except ValueError:
        raise SettingsError(f"{name}: a whole number is meant") from None


def _layer(found: Mapping[str, str]) -> str | None:
    layer = found.get("GUANXI_LAYER") or None
    if layer not in (None, *LAYERS):
        raise SettingsError(f"GUANXI_LAYER: one of {', '.join(LAYERS)}, or unset")
    return layer
