"""Celery workers: they wake runs, drive them, and leave nothing behind when they die."""
