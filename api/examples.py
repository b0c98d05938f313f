"""Bodies that work, for the OpenAPI description; a test sends each of them."""

from typing import Any

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "RunRequest": [
        {"agent": "treasurer", "task": "What is 250 EUR in dollars?"},
        {
            "agent": "treasurer",
            "task": {"amount": 250, "from": "EUR", "to": "USD"},
            "thread_id": "holiday",
            "overlap": "enqueue",
            "limits": {"max_steps": 6, "deadline_s": 60},
            "priority": "low",
            "metadata": {"ticket": "T-17"},
            "webhook": "https://example.com/hooks/runs",
            "after": "2027-01-31T08:00:00Z",
        },
    ],
    "BatchRequest": [
        {
            "runs": [
                {"agent": "treasurer", "task": "What is 1 EUR in dollars?"},
                {"agent": "treasurer", "task": "What is 1 CHF in dollars?"},
            ]
        }
    ],
    "CancelRequest": [{"reason": "asked by mistake"}],
    "ForkRequest": [{"step": 0, "task": "What is 250 EUR in yen?"}, {"step": 1, "model": "qwen3-32b"}],
    "ThreadRequest": [{}, {"id": "holiday", "metadata": {"ticket": "T-17"}}],
    "ScheduleRequest": [
        {
            "id": "morning-rates",
            "cron": "30 8 * * 1-5",
            "timezone": "Europe/Zurich",
            "run": {"agent": "treasurer", "task": "Which rates moved by more than one percent since yesterday?"},
        }
    ],
    "ScheduleChange": [{"enabled": False}, {"cron": "0 7 * * *", "timezone": "UTC"}],
    "Decision": [
        {"decision": "approve", "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        {
            "decision": "reject",
            "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "reason": "not before the audit",
        },
    ],
}
"""By the name of the model."""
