"""The Python client of a Loopwright server: typed, patient, the same with and without asyncio."""

from .asynchronous import AsyncClient
from .blocking import Client
from .following import Live

__all__ = ["AsyncClient", "Client", "Live"]
