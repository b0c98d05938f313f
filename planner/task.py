"""What may be submitted as a task: text, or any JSON value, up to a size."""

from typing import Any

from pydantic_core import from_json, to_json

from ..errors import TaskInvalid

MAX_TASK_BYTES = 1_048_576
"""Largest task, as JSON."""


def checked_task(task: Any) -> Any:
    """Return a task as plain JSON values.

    Raises:
        TaskInvalid: It is empty, not JSON or too large.
    """
    try:
        text = to_json(task, inf_nan_mode="strings")
    except ValueError as exc:
        raise TaskInvalid(f"it is not JSON: {exc}") from exc
    if len(text) > MAX_TASK_BYTES:
        raise TaskInvalid(f"it has {len(text)} bytes, the most is {MAX_TASK_BYTES}")
    if task is None or (isinstance(task, str) and not task.strip()):
        raise TaskInvalid("it is empty")
    return task if isinstance(task, str) else from_json(text)
