"""Every setting in one frozen object, read from `LOOPWRIGHT_*` variables and checked at start.

Code gets settings as arguments; only command-line and process entry points call `load_settings`.
"""

from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import SettingsInvalid

ARCHIVED_AFTER_S = 7 * 86_400.0
"""Seconds that a finished run stays in Redis when there is an archive and no time was set."""


class Settings(BaseSettings):
    """What a process needs to know. Each field is the variable `LOOPWRIGHT_` plus its name in capitals.

    A variable that is empty counts as not set.
    """

    model_config = SettingsConfigDict(env_prefix="LOOPWRIGHT_", frozen=True, extra="ignore", env_ignore_empty=True)

    model_url: str | None = Field(None, description="Base URL of an OpenAI-compatible server; none: embedded model.")
    model: str | None = Field(None, description="Name of the model there; none: the first that the server lists.")
    model_key: SecretStr | None = Field(None, description="API key that the model server asks for.")
    model_context_tokens: int | None = Field(None, ge=256, description="The model's window in tokens, if not told.")
    price_prompt: float = Field(0.0, ge=0, description="Money for a million prompt tokens.")
    price_cached: float = Field(0.0, ge=0, description="Money for a million cached prompt tokens.")
    price_completion: float = Field(0.0, ge=0, description="Money for a million completion tokens.")
    redis_url: str | None = Field(
        None, repr=False, description="redis:// or unix:// URL; none: embedded Redis, or in memory."
    )
    durability: Literal["everysec", "always", "replicated"] = Field(
        "everysec", description="What a durable write means; Redis must be configured for it."
    )
    lease_s: float = Field(15.0, gt=0, le=3600, description="Seconds a worker may be silent before it loses a run.")
    retention_s: float | None = Field(
        None, gt=0, description="Seconds a finished run stays in Redis; none: a week with an archive, else for ever."
    )
    archive: str | None = Field(
        None, description="Folder or fsspec URL that finished runs are written to before they leave Redis."
    )
    data_dir: str = Field(".loopwright", min_length=1, description="Folder of the embedded Redis.")
    host: str = Field("127.0.0.1", min_length=1, description="Address that the API listens on.")
    port: int = Field(8300, ge=0, le=65535, description="Port that the API listens on; 0: any free one.")
    pepper: SecretStr | None = Field(
        None, description="Secret that API keys are hashed with; none: a file in the data folder, made at first use."
    )
    slots: int = Field(256, ge=1, le=100_000, description="Runs that one worker process drives at the same time.")
    grace_s: float = Field(10.0, gt=0, le=3600, description="Seconds a worker has to hand its runs over on SIGTERM.")
    max_losses: int = Field(
        3, ge=1, le=100, description="Workers that may die of a run in a row before it fails as poison."
    )
    model_patience_s: float = Field(
        600.0, ge=0, description="Seconds for which a run waits for a model server that is away, before it fails."
    )
    approval_ttl_s: float = Field(86_400.0, gt=0, description="Seconds after which an approval nobody gave expires.")
    webhook_allow: str = Field(
        "",
        description="Receivers of webhooks inside your own network: host:port or address ranges (10.1.0.0/16), commas"
        " between. Everything else must be public.",
    )
    tenant: str = Field("local", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Tenant of local commands.")

    @model_validator(mode="before")
    @classmethod
    def _archive_within_a_week(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("archive") and given.get("retention_s") is None:
            return {**given, "retention_s": ARCHIVED_AFTER_S}
        return given

    @field_validator("webhook_allow")
    @classmethod
    def _is_readable(cls, text: str) -> str:
        from .workers.receivers import read_allowed

        read_allowed(text)
        return text


def load_settings(**given: Any) -> Settings:
    """Return the settings of this process: arguments first, then the environment, then defaults.

    Args:
        **given: Values that beat the environment; `None` means not given.

    Raises:
        SettingsInvalid: Names the first wrong setting and what is wrong with it.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsInvalid(f"LOOPWRIGHT_{name.upper()}", first["msg"]) from exc
