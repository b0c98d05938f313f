"""The routes, a file per noun."""

from ..models import build_models

build_models()
