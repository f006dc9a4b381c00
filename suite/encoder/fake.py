"""An encoder without a model, for tests: the interface of `model.Encoder` over hashed bags of words, no torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from suite.encoder.heads import Head, HeadMissing, Pair, features_of


class FakeEncoder:
    """Texts that share words have similar vectors; the same text has the same vector in every process.

    `salt` makes another "release" of it, with other vectors and another fingerprint.
    """

    def __init__(self, dimensions: int = 64, heads: Mapping[str, Head] | None = None, salt: str = "") -> None:
        self.dimensions = dimensions
        self.heads = dict(heads or {})
        self.salt = salt
        self.fingerprint = hashlib.sha256(f"fake {dimensions} {salt}".encode()).hexdigest()[:16]

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 (n, d)."""
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w", text) if not text.isascii() else re.findall(r"\w+", text.lower()):
                vectors[row] += self.word(word)
            vectors[row] += 0.01 * self.word("")  # so that a text without words has a direction, too
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def word(self, word: str) -> np.ndarray:
        digest = hashlib.sha256(f"{self.salt} {word}".encode("utf-8", "replace")).digest()
        return np.random.default_rng(int.from_bytes(digest[:8])).normal(size=self.dimensions).astype(np.float32)

    def classify(self, head: str, texts: Sequence[str]) -> np.ndarray:
        if head not in self.heads:
            raise HeadMissing(head, list(self.heads))
        found = self.heads[head]
        return found.probabilities(features_of(self, found.spec, texts))

    def score_pairs(self, pairs: Sequence[Pair], head: str) -> np.ndarray:
        if head not in self.heads:
            raise HeadMissing(head, list(self.heads))
        found = self.heads[head]
        return found.probabilities(features_of(self, found.spec, pairs))[:, 1]
