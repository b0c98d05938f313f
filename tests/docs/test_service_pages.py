"""The pages on threads, schedules and webhooks: their code runs, their requests are requests, their words are true."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from standardwebhooks import Webhook

from loopwright.api.models import RunRequest, ScheduleRequest, ThreadRequest
from loopwright.memory.webhook_secrets import new_secret
from loopwright.settings import load_settings
from loopwright.workers.cron import next_moment_ms
from loopwright.workers.receivers import check_webhook_url
from loopwright.workers.webhooks import DELAYS_S, MAX_BODY_BYTES, TIMEOUT_S

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def run(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.mark.parametrize(
    ("page", "kinds"),
    [("threads.md", [RunRequest, ThreadRequest]), ("schedules.md", [ScheduleRequest]), ("webhooks.md", [RunRequest])],
)
def test_the_requests_that_a_page_shows_are_accepted(page: str, kinds: list[type[BaseModel]]) -> None:
    shown = blocks(page, "json")[: len(kinds)]
    assert len(shown) == len(kinds)
    for kind, text in zip(kinds, shown, strict=True):
        request = kind.model_validate_json(text)
        wanted = getattr(request, "run", request)
        if getattr(wanted, "webhook", None) is not None:
            check_webhook_url(str(wanted.webhook), load_settings())


def test_what_the_page_on_schedules_says_about_clocks_is_true() -> None:
    run("schedules.md")
    (shown,) = blocks("schedules.md", "json")
    schedule = ScheduleRequest.model_validate_json(shown)
    assert next_moment_ms(schedule.cron, schedule.timezone, 0) > 0


def test_the_receiver_that_the_page_on_webhooks_shows_checks_what_we_sign() -> None:
    receive = run("webhooks.md")["receive"]
    body, secret, now = blocks("webhooks.md", "json")[1], new_secret(), datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body),
    }
    assert receive(headers, body.encode(), secret) == json.loads(body)["data"]
    with pytest.raises(Exception, match="signature"):
        receive(headers, body.encode(), new_secret())


def test_the_figures_on_the_page_on_webhooks_are_those_of_the_code() -> None:
    page = " ".join((DOCS / "webhooks.md").read_text().split())
    assert "at once, after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h" in page
    hours = (2, 5, 10, 14, 20, 24)
    assert (5, 5 * 60, 30 * 60, *(each * 3600 for each in hours)) == DELAYS_S
    assert f"{TIMEOUT_S:g} s" in page and f"{MAX_BODY_BYTES:,} bytes" in page
    (setting,) = re.findall(r'LOOPWRIGHT_WEBHOOK_ALLOW="(.*?)"', page)
    load_settings(webhook_allow=setting)
