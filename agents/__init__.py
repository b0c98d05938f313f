"""Agents: typed definitions, their limits, and where they are found."""

from .agent import Agent
from .instructions import RunContext
from .limits import Limits
from .loader import load
from .memory import Memory
from .registry import Registry
from .resources import ResourcePool

__all__ = ["Agent", "Limits", "Memory", "Registry", "ResourcePool", "RunContext", "load"]
