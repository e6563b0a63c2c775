"""A downstream system without Kafka: the same table, fed by signed webhooks (Standard Webhooks).

`python -m deploy.examples.receiver`, EXAMPLE_SECRET: what `guanxi subscriptions create` printed; EXAMPLE_TABLE, EXAMPLE_PORT.
"""

import json
import os
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from deploy.examples.memberships import Memberships


def build(secret: str, memberships: Memberships) -> FastAPI:
    app = FastAPI(openapi_url=None)
    webhook = Webhook(secret)

    @app.post("/guanxi")
    async def hear(request: Request) -> Response:
        """Any 2xx says: written down. Everything else, and silence, brings the same event again, under the same id."""
        body = await request.body()
        try:
            webhook.verify(body, dict(request.headers), json_parse=False)
        except WebhookVerificationError:
            return Response(status_code=401)
        event = json.loads(body)
        gap = memberships.apply(event)
        if gap:
            print(f"gap: {gap} number(s) missing before {event['id']}; ask for a replay", file=sys.stderr, flush=True)
        return Response(status_code=204)

    return app


def main() -> None:
    memberships = Memberships(Path(os.environ.get("EXAMPLE_TABLE", "memberships.db")))
    app = build(os.environ["EXAMPLE_SECRET"], memberships)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("EXAMPLE_PORT", "9000")), log_level="warning")


if __name__ == "__main__":
    main()
