"""Settings of every process, read once from the environment (and `.env`) under the prefix GUANXI_."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

PREFIX = "GUANXI_"
FOR_COMMANDS = frozenset(
    {"CACHE_DIR", "KEY", "JAVA", "STORE_BINARY", "LAYER", "KAFKA_PORT", "KAFKA_HEAP_MB", "STORE_PORT", "REQUIRE_REAL"}
)
"""Names that only the command line and `make` read; the services let them pass, and TEST_ with anything after it."""

_LAST_PORT = 65_535


def from_home(path: Path) -> Path:
    """A leading ~ as a shell reads it, since a file of settings has none to do so; as it is where there is no such home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _addresses(given: str) -> str:
    for one in given.split(","):
        host, colon, port = one.strip().rpartition(":")
        if colon and not (host and port.isdigit() and int(port) <= _LAST_PORT):
            raise ValueError("HOST:PORT is meant, or several with commas between")
    return given


Port = Annotated[int, Field(ge=0, le=_LAST_PORT)]
Place = Annotated[Path, AfterValidator(from_home)]
Bootstrap = Annotated[str, AfterValidator(_addresses)]


class SettingsError(Exception):
    """What is wrong in the environment, by name; never the value, which may be a secret."""


class Settings(BaseModel):
    """`model_fields_set` tells what was given from what is the default.

    `webhook_allow_private`: webhooks may also go to private addresses, any port, and without TLS; for trials only.
    `group_commit` None: decided by what the store is. `cache_documents`: customers that one worker keeps in memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kafka_bootstrap: Bootstrap = "127.0.0.1:9092"
    mongo_url: str = Field(default="mongodb://127.0.0.1:27017", repr=False)
    data_dir: Place = Path(".guanxi")
    config_dir: Place = Path(__file__).parent.parent / "deploy" / "config"
    secrets_file: Place = Path(".guanxi/secrets.json")
    keys_file: Place = Path(".guanxi/keys.json")
    clock: Literal["wall", "log"] = "wall"
    host: str = "127.0.0.1"
    intake_port: Port = 8001
    segmentation_port: Port = 8002
    followup_port: Port = 8003
    feedback_port: Port = 8004
    webhooks_port: Port = 8005
    webhook_allow_private: bool = False
    group_commit: bool | None = None
    batch_size: Annotated[int, Field(ge=1, le=20_000)] = 2_000
    merge_patience_seconds: Annotated[float, Field(ge=0, le=60)] = 2.0
    cache_documents: Annotated[int, Field(ge=0)] = 50_000
    session_timeout_ms: Annotated[int, Field(ge=1_000, le=300_000)] = 10_000
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    version: str = "0.1.0"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, env_file: Path = Path(".env")) -> Self:
        """The environment wins over the file. Raises SettingsError that names every wrong or unknown name at once."""
        found = _prefixed(read_env_file(env_file)) | _prefixed(environ)
        _under_data_dir(found)
        try:
            return cls(**found)
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None

    def port_of(self, service: str) -> int:
        """The port of the first process of `service` on a machine; 0 asks for any free one."""
        port: int = getattr(self, f"{service}_port")
        return port


def _prefixed(environ: Mapping[str, str]) -> dict[str, str]:
    names = (name for name in environ if name.startswith(PREFIX))
    return {name.removeprefix(PREFIX).lower(): environ[name] for name in names if _is_ours(name)}


def _is_ours(name: str) -> bool:
    own = name.removeprefix(PREFIX)
    return own not in FOR_COMMANDS and not own.startswith("TEST_")


def _under_data_dir(found: dict[str, str]) -> None:
    """Files that were not placed explicitly move with the data directory, so that two copies never share keys."""
    if "data_dir" in found:
        for name in ("secrets_file", "keys_file"):
            found.setdefault(name, str(Path(found["data_dir"]) / f"{name.removesuffix('_file')}.json"))


def read_env_file(env_file: Path) -> dict[str, str]:
    """Names and values without quotes and without comments behind them; empty where there is no file."""
    if not env_file.is_file():
        return {}
    lines = (line.strip() for line in env_file.read_text("utf-8").splitlines())
    pairs = (line.removeprefix("export ").partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): _value(written.strip()) for name, _, written in pairs}


def _value(written: str) -> str:
    """As `docker compose` reads the same file: a comment begins at a # after a blank, unless it stands in quotes."""
    quoted = re.match(r"""(["'])(.*?)\1""", written)
    return quoted[2] if quoted else re.split(r"(?:^|\s)#", written, maxsplit=1)[0].strip()


def _explain(error: ValidationError) -> str:
    wrong = (f"{PREFIX}{str(e['loc'][0]).upper()}: {_reason(e['type'], e['msg'])}" for e in error.errors())
    return "; ".join(wrong)


def _reason(kind: str, message: str) -> str:
    return "no such setting" if kind == "extra_forbidden" else message
