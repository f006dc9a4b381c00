from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from domains.finance.models import Article
from domains.finance.news.entities import EntityTable, Name
from domains.finance.news.scoring import read
from domains.finance.tests.conftest import fake_encoder
from suite.encoder.fake import FakeEncoder


class Listening(FakeEncoder):
    """Keeps what it is given to read."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.given = list(texts)
        return super().embed(texts)


def test_titles_and_names_are_read_as_the_heads_want_them() -> None:
    encoder = Listening(dimensions=128, heads=fake_encoder().heads)
    now = datetime(2026, 11, 1, tzinfo=UTC)
    article = Article(pk=1, title="Halden Motors names a chief", published_at=now, changed_at=now, language="en")
    [reading] = read([article], encoder, EntityTable.of([Name(1, "Halden Motors")], {}))
    assert encoder.given == [
        "classify: Halden Motors names a chief",
        "classify: Halden Motors | [ Halden Motors ] names a chief",
        "Halden Motors names a chief",
    ]
    assert np.array_equal(reading.sketch.vector, encoder.embed([article.title])[0].astype(np.float16))
    assert reading.topic == "people"
    assert [one.entity_id for one in reading.judgements] == [None, 1]
