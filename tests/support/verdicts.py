"""Why a live document is not what the log says: the parts of it that differ, for a test that has failed."""

import asyncio
import importlib
from pathlib import Path
from typing import Any

from shared.events.catalog import PARTITIONS
from shared.processing.maintenance import open_maintenance
from shared.processing.replay import Replay
from shared.processing.verify import fingerprint
from shared.settings import Settings

PARTS = ("at", "sequence", "wake_at", "erased", "applied", "parked", "state", "view")


def differences(environ: dict[str, str], service: str, customers: list[str], most: int = 3) -> list[str]:
    return asyncio.run(_differences(environ, service, set(customers), most))


async def _differences(environ: dict[str, str], service: str, customers: set[str], most: int) -> list[str]:
    names = {name: value for name, value in environ.items() if name.startswith("GUANXI_")}
    settings = Settings.from_environment(names, Path("/nonexistent"))
    bootstrap = importlib.import_module(f"services.{service}.bootstrap").SERVICE
    found: list[str] = []
    async with open_maintenance(bootstrap, settings) as opened:
        for number in range(PARTITIONS):
            replay = Replay(bootstrap.build_domain(settings.config_dir), opened._scanner, bootstrap.inputs, number)
            await replay.advance(await opened._stops(number))
            rebuilt = {document.id: document for document in replay.documents()}
            async for document in opened._live(number):
                other = rebuilt.get(document.id)
                if document.id in customers and len(found) < most:
                    pairs = zip(PARTS, fingerprint(document), fingerprint(other), strict=True) if other else ()
                    found.append(
                        f"{document.id}: {[_shown(*pair) for pair in pairs if pair[1] != pair[2]] or 'moving'}"
                    )
    return found


def _shown(name: str, live: Any, log: Any) -> str:
    if isinstance(live, dict) and isinstance(log, dict):
        keys = sorted(key for key in {*live, *log} if live.get(key) != log.get(key))
        return f"{name}: " + "; ".join(
            f"{key} is {live.get(key)!r:.300}, the log says {log.get(key)!r:.300}" for key in keys
        )
    return f"{name} is {live!r:.300}, the log says {log!r:.300}"
