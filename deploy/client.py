"""HTTP to this copy's services with the operator's key; a refusal becomes a failure in the service's own words."""

from dataclasses import dataclass
from typing import Any

import httpx

from deploy.console import Failure
from deploy.system import System

_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Client:
    system: System

    def get(self, service: str, path: str, **query: Any) -> dict[str, Any]:
        params = {name: value for name, value in query.items() if value is not None}
        answer: dict[str, Any] = self._send(service, "GET", path, params=params).json()
        return answer

    def post(self, service: str, path: str, body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(service, "POST", path, json=body).json()
        return answer

    def patch(self, service: str, path: str, body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(service, "PATCH", path, json=body).json()
        return answer

    def delete(self, service: str, path: str) -> None:
        self._send(service, "DELETE", path)

    def post_bytes(self, service: str, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        """Untouched: what is redriven keeps its bytes."""
        headers = {"content-type": content_type}
        answer: dict[str, Any] = self._send(service, "POST", path, content=body, headers=headers).json()
        return answer

    def _send(self, service: str, method: str, path: str, **parts: Any) -> httpx.Response:
        headers = {**parts.pop("headers", {}), "authorization": f"Bearer {self._key()}"}
        url = f"{self.system.url(service)}{path}"
        try:
            response = httpx.request(method, url, headers=headers, timeout=_SECONDS, **parts)
        except httpx.HTTPError as error:
            raise Failure(
                f"{service} does not answer at {url} ({type(error).__name__}): `guanxi status`", passing=True
            ) from None
        if response.is_error:
            passing = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
            raise Failure(f"{service} answered {response.status_code}: {_reason(response)}", passing=passing)
        return response

    def _key(self) -> str:
        key = self.system.installation.operator_key()
        if key is None:
            raise Failure("there is no operator's key here: `guanxi up` makes one, or set GUANXI_KEY")
        return key


def _reason(response: httpx.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        return response.text[:200]
    errors = "; ".join(f"{e.get('field')}: {e.get('reason')}" for e in problem.get("errors", []))
    return " ".join(filter(None, [problem.get("title"), problem.get("detail"), errors]))
