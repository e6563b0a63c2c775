"""What one copy has of its own: its secrets and the operator's key, made at first use and readable by their owner only."""

import base64
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from deploy.programs import PROGRAMS
from deploy.servers import Addresses
from deploy.settings import Machine
from shared.web.keys import KeyRing

OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Installation:
    machine: Machine

    def prepare(self) -> None:
        """Makes what is missing; never replaces a secret, because what it sealed could not be opened again."""
        self.machine.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.secrets_file.exists():
            made = {name: _random() for name in ("key_encryption_key", "blind_index_pepper")}
            _write_private(self.secrets_file, json.dumps(made))
        if self.operator_key() is None:
            key, _ = self._ring.create(OPERATOR, ["admin"])
            _write_private(self.operator_file, key)

    @property
    def secrets_file(self) -> Path:
        return self.machine.services.secrets_file.resolve()

    @property
    def keys_file(self) -> Path:
        return self.machine.services.keys_file.resolve()

    def operator_key(self) -> str | None:
        """GUANXI_KEY, else this copy's own key where it is still valid."""
        if given := self.machine.environ.get("GUANXI_KEY"):
            return given
        key = self.operator_file.read_text("utf-8") if self.operator_file.exists() else None
        return key if key and self._ring.principal(key) else None

    def environ(self, addresses: Addresses) -> dict[str, str]:
        """What every process of this copy is told, in absolute paths."""
        services = self.machine.services
        return {
            **addresses.environ(),
            "GUANXI_DATA_DIR": str(self.machine.data_dir),
            "GUANXI_CONFIG_DIR": str(services.config_dir.resolve()),
            "GUANXI_SECRETS_FILE": str(self.secrets_file),
            "GUANXI_KEYS_FILE": str(self.keys_file),
            **{f"GUANXI_{name.upper()}_PORT": str(services.port_of(name)) for name in PROGRAMS},
        }

    @property
    def _ring(self) -> KeyRing:
        return KeyRing(self.keys_file)

    @property
    def operator_file(self) -> Path:
        return self.machine.data_dir / "operator.key"


def _random() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others in between."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
