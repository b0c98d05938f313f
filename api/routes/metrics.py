"""Routes of metrics."""

from fastapi import APIRouter

router = APIRouter()
