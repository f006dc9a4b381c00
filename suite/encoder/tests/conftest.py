from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from suite.encoder.model import Encoder
from suite.encoder.tests.models import DEFAULT, write_tiny


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The real default encoder."""
    return Encoder.load(DEFAULT, threads=1, device="cpu")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny")


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
