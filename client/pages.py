"""Lists that come page by page, asked for as they are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..api.models import Page
from .call import Call

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list to be read.

    Attributes:
        path: Where it is.
        read: Turns the body of an answer into a page.
        query: Filters, and the size of a page.
        cursor: Name of the parameter that takes a page's `next`.
    """

    path: str
    read: Callable[[bytes], Page[T]]
    query: Mapping[str, Any] = field(default_factory=dict)
    cursor: str = "cursor"

    def page(self, cursor: str | None) -> Call[Page[T]]:
        """Return the call for the page at a cursor; `None`: the first."""
        query = dict(self.query) if cursor is None else {**self.query, self.cursor: cursor}
        return Call("GET", self.path, self.read, query)
