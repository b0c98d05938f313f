"""Routes of agents."""

from fastapi import APIRouter

router = APIRouter()
