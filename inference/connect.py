"""Find the model that the settings name: an OpenAI-compatible server, else the embedded model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ..errors import SettingsInvalid

if TYPE_CHECKING:
    from ..settings import Settings
    from .endpoint import Endpoint


@asynccontextmanager
async def connect(model: str | None = None, settings: "Settings | None" = None) -> "AsyncIterator[Endpoint]":
    """Yield the process's endpoint and close it afterwards.

    Args:
        model: Model name that an agent asks for; `None` takes the settings'.
        settings: Where the server is; read from the environment when left out.

    Raises:
        SettingsInvalid: An agent asks for a model by name, but no server is set.
        ExtraMissing: No server is set and the embedded model's packages are not installed.
        EndpointError: The server's list of models is needed and cannot be had.
    """
    from ..settings import load_settings

    settings = settings or load_settings()
    name = model or settings.model
    endpoint = await _remote(name, settings) if settings.model_url else _embedded(name)
    try:
        yield endpoint
    finally:
        await endpoint.aclose()


def describe(settings: "Settings", model: str | None = None) -> str:
    """Return one line that says which model `connect` takes.

    Args:
        settings: Where the server is.
        model: Model name that an agent asks for; `None` takes the settings'.
    """
    if settings.model_url:
        return f"model {model or settings.model or '(first one listed)'} at {settings.model_url}"
    return "no LOOPWRIGHT_MODEL_URL set: using the small embedded model (plain requests only)"


async def _remote(name: str | None, settings: "Settings") -> "Endpoint":
    from .openai_compatible import OpenAICompatibleEndpoint

    url = settings.model_url or ""
    key = settings.model_key.get_secret_value() if settings.model_key else None
    if not name:
        asked = OpenAICompatibleEndpoint(url, "", api_key=key, name=f"at {url}")
        try:
            name = await asked.first_model()
        finally:
            await asked.aclose()
    return OpenAICompatibleEndpoint(
        url, name, api_key=key, context_tokens=settings.model_context_tokens, max_concurrency=max(256, settings.slots)
    )


def _embedded(name: str | None) -> "Endpoint":
    if name not in (None, "embedded"):
        raise SettingsInvalid("LOOPWRIGHT_MODEL_URL", f"model {name!r} is asked for, but no model server is set")
    from .embedded import EmbeddedEndpoint

    return EmbeddedEndpoint()
