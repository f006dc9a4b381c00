"""Texts to measure speed on: everyday words, 5 to 150 tokens, 33 on average, the same ones every time."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer

SHORTEST, LONGEST = 5, 150  # tokens of a text
SHAPE, SCALE = 1.3, 23.0  # of the gamma distribution of lengths; with the limits above the mean is about 33
AROUND = 2  # tokens that the tokenizer puts around a text


def sample_texts(tokenizer: Tokenizer, count: int, seed: int = 0) -> list[str]:
    """`count` different texts of words that are one token each."""
    rng = np.random.default_rng(seed)
    words = [word for word in sorted(tokenizer.get_vocab()) if word.isascii() and word.isalpha()]
    lengths = np.clip(rng.gamma(SHAPE, SCALE, count) + SHORTEST, SHORTEST, LONGEST).astype(int) - AROUND
    return [" ".join(rng.choice(words, length)) for length in lengths]
