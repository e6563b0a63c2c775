"""The JSON Schema of a rules file, by which editors complete it: `python -m services.segmentation.language.schema`."""

import json
import sys
from typing import Any

from services.segmentation.rules import Rules

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "Guanxi: what the segments mean"


def schema() -> dict[str, Any]:
    """Whether names fit together no schema can say: `guanxi rules check` does."""
    found = Rules.model_json_schema(by_alias=True)
    _close(found)
    return {"$schema": DIALECT, **found, "title": TITLE}


def _close(node: Any) -> None:
    """A name that does not fit the pattern of names is refused; pydantic's schema would let it pass unseen."""
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _close(below)
    if isinstance(node, dict) and "patternProperties" in node:
        node.setdefault("additionalProperties", False)


def write() -> str:
    return json.dumps(schema(), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(write())
