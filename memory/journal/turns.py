"""Turns in threads: which runs take them, and the threads of the journal in memory."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...planner.events import RunCreated


def takes_thread(created: RunCreated) -> bool:
    """Say whether the run takes a turn in a thread; a child speaks in the thread of its parent, which has it."""
    return created.thread_id is not None and created.parent_run is None


def said_of(task: Any) -> str:
    """Return the task as JSON, for the messages of a thread."""
    return json.dumps(task, ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class Thread:
    """A conversation.

    Attributes:
        holder: The run that has the thread.
        queue: Runs that wait for their turn.
        messages: What was said, as (role, run, JSON).
    """

    holder: str | None = None
    queue: deque[str] = field(default_factory=deque)
    messages: list[tuple[str, str, str]] = field(default_factory=list)


class Turns:
    """All threads, by tenant and id."""

    def __init__(self) -> None:
        self.threads: dict[tuple[str, str], Thread] = {}

    def thread(self, tenant: str, thread_id: str) -> Thread:
        """Return a thread; made at first use."""
        return self.threads.setdefault((tenant, thread_id), Thread())

    def take(self, tenant: str, thread_id: str, run_id: str, *, first: bool) -> bool:
        """Give a run the thread, or its place among those that wait. Returns whether it has the thread."""
        thread = self.thread(tenant, thread_id)
        if thread.holder is None:
            thread.holder = run_id
            return True
        if first:
            thread.queue.appendleft(run_id)
        else:
            thread.queue.append(run_id)
        return False

    def leave(
        self,
        tenant: str,
        thread_id: str,
        run_id: str,
        said: str,
        answer: str | None,
        is_over: Callable[[str], bool],
    ) -> str | None:
        """Note what an ended run said, and return the run whose turn has come, if any."""
        thread = self.thread(tenant, thread_id)
        if thread.holder != run_id:
            if run_id in thread.queue:
                thread.queue.remove(run_id)
            return None
        thread.messages.append(("user", run_id, said))
        if answer is not None:
            thread.messages.append(("assistant", run_id, answer))
        thread.holder = None
        while thread.queue and thread.holder is None:
            heir = thread.queue.popleft()
            thread.holder = None if is_over(heir) else heir
        return thread.holder
