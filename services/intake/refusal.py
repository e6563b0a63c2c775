"""What intake says no to, before it is known how that is told (HTTP, a rejected row)."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from shared.events.reasons import field_errors


class Refusal(Exception):
    """`status` as in HTTP. `errors`: (field, reason) pairs that quote nothing of what was sent; `faults`: pydantic's own."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str | None = None,
        errors: Iterable[tuple[str, str]] = (),
        faults: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.faults = tuple(faults)

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Field and reason of each error; one, of no field, where none is named."""
        if self.faults:
            return [(error["field"], error["reason"]) for error in field_errors(self.faults)]
        return list(self.errors) or [("", self.detail or self.title)]

    @classmethod
    def of_field(cls, field: str, reason: str) -> "Refusal":
        return cls(422, "Invalid content", "One or more fields are not as they must be.", [(field, reason)])

    def within(self, group: str) -> "Refusal":
        """The same for whoever sent this group as the whole document."""
        if not self.errors:
            return self
        errors = [(field.removeprefix(f"{group}."), reason) for field, reason in self.errors]
        return Refusal(self.status, self.title, self.detail, errors, self.faults)

    @classmethod
    def of_model(cls, error: ValidationError) -> "Refusal":
        return cls(422, "Invalid content", faults=error.errors(include_url=False, include_input=False))


class Unavailable(Refusal):
    """The outcome is unknown: what was claimed is kept and sent again, so the same request may be repeated safely."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, "Not available at the moment", detail)
