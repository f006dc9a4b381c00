"""Celery's entry points: three to ten lines each. Only these processes load the encoder."""
