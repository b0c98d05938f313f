"""Routes of health."""

from fastapi import APIRouter

router = APIRouter()
