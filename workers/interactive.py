"""Encode what people have just typed."""

from suite.celery import app
from suite.index import vectors
from suite.releases import runtime


@app.task
def encode_queries() -> None:
    vectors.encode_queries(lambda fingerprint: runtime.encoder_for(fingerprint).embed)
