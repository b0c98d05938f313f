"""Routes of threads."""

from fastapi import APIRouter

router = APIRouter()
