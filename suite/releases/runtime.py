"""The encoders of this worker process: each loaded once, at most three at a time. Imports torch: for workers only."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from pathlib import Path

from django.conf import settings

from suite.domain import NotYet
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.model import Encoder
from suite.releases import calibration, selectors
from suite.releases.models import Release

LIMIT = 3  # the active release, the one that is being promoted, and the one in shadow

_lock = threading.Lock()
_loaded: OrderedDict[str, Encoder] = OrderedDict()
_loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # two threads never load one encoder twice


class NoRelease(NotYet):
    """There is no such release, or none is active yet."""


def encoder_for(fingerprint: str) -> Encoder:
    """The encoder of a release. Raises `NoRelease`, or `CheckpointError` where its folder is missing or corrupt."""
    with _lock:
        loading = _loading[fingerprint]
    with loading:  # nobody waits here for another release
        with _lock:
            if fingerprint in _loaded:
                _loaded.move_to_end(fingerprint)
                return _loaded[fingerprint]
        release = Release.objects.filter(pk=fingerprint).first()
        if release is None:
            raise NoRelease(f"there is no release {fingerprint}")
        encoder = calibration.load(release.folder)
        if encoder.fingerprint != fingerprint:
            raise CheckpointError(f"{release.folder}: holds release {encoder.fingerprint} instead of {fingerprint}")
        with _lock:
            _loaded[fingerprint] = encoder
            while len(_loaded) > LIMIT:
                _loaded.popitem(last=False)
        return encoder


def active_encoder() -> Encoder:
    """The encoder of the active release. Raises `NoRelease` until there is one."""
    release = selectors.active()
    if release is None:
        raise NoRelease("no release is active yet; `manage.py release` makes the first one")
    return encoder_for(release.fingerprint)


def forget() -> None:
    """Drop every loaded encoder."""
    with _lock:
        _loaded.clear()


def resolve(name: str = "") -> Encoder:
    """The encoder that a user names: a checkpoint folder, a release's fingerprint or the beginning of one; without a
    name the active release's, or the plain body of `SUITE_ENCODER` where none is active.

    Raises `NoSuchRelease` or `CheckpointError`.
    """
    if name and Path(name).is_dir():
        return calibration.load(name)
    if "/" in name:
        raise selectors.NoSuchRelease(f"{name}: there is no such folder")
    release = selectors.find(name) if name else selectors.active()
    if release is None:
        return calibration.load(settings.ENCODER)
    return encoder_for(release.fingerprint)
