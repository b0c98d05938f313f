"""Settings come from arguments, then the environment, then defaults that fit each other."""

import pytest

from loopwright.errors import SettingsInvalid
from loopwright.settings import ARCHIVED_AFTER_S, load_settings


def test_an_archive_alone_means_that_runs_move_there_after_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().retention_s is None
    assert load_settings(archive="runs").retention_s == ARCHIVED_AFTER_S
    assert load_settings(archive="runs", retention_s=60).retention_s == 60
    monkeypatch.setenv("LOOPWRIGHT_ARCHIVE", "s3://bucket/runs")
    assert load_settings().retention_s == ARCHIVED_AFTER_S


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_PORT", "99999")
    with pytest.raises(SettingsInvalid, match="LOOPWRIGHT_PORT"):
        load_settings()
