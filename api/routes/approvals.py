"""Routes of approvals."""

from fastapi import APIRouter

router = APIRouter()
