"""The body that is trained, and the vectors that it gives texts: passes of some thousand tokens, with gradients.

It runs packed where that can be (`packing.py`), else padded; in bfloat16 where that is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from suite.encoder import engines
from suite.encoder.model import Encoder, batches, multiplies_bfloat16, pool
from suite.encoder.training.body import body_of, freeze, pooling_of, with_adapters, with_dropout
from suite.encoder.training.characters import learn_apart, learned
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.frozen import FrozenLayers, divided
from suite.encoder.training.packing import PackedBody
from suite.encoder.training.tasks import Texts

PASS_TOKENS = 4_096  # padded tokens of one pass through the body; a batch with more takes several
CPU_STEP = 8  # tokens: widths of bfloat16 passes are multiples of it, since the CPU's library keeps code for each shape
FUSED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


class TrainedBody:
    """A copy of an encoder's body, made ready to be trained as the configuration says. Raises `TrainingError`."""

    def __init__(self, encoder: Encoder, config: TrainingConfig, texts: Texts, first_new: int | None) -> None:
        """Tokens from `first_new` on, where there are any, learn apart, see `characters.py`."""
        self.config, self.texts, self.device = config, texts, encoder.device
        self.settings = encoder.settings
        self.pad_id = int(self.settings.get("pad_token_id") or 0)
        self.pooling = pooling_of(encoder, config)
        self.model: Any = with_dropout(body_of(encoder, config), config.dropout)
        freeze(self.model, config)
        if first_new is not None:  # frozen or not
            learn_apart(self.model, first_new)
        if config.lora_rank:
            self.model = with_adapters(self.model, config.lora_rank)
        self.frozen, self.above = None, self.model
        if config.frozen_layers:
            below, self.above = divided(self.model, config.frozen_layers)
            self.frozen = FrozenLayers(below)
        is_quick = multiplies_bfloat16(self.device)
        self.is_narrow = config.precision == "bfloat16" or (config.precision == "auto" and is_quick)
        self.packed = PackedBody(self.above, self.settings, self.is_narrow) if self.is_packable() else None

    def is_packable(self) -> bool:
        has_kernel = self.is_narrow and multiplies_bfloat16(self.device)
        return engines.body.is_known(self.settings) and (self.device.type == "cpu" or has_kernel)

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Autocast to bfloat16 where that is wanted; and on CPUs attention by plain products, as the fused kernel's way
        back takes ten times as long there."""
        kernels = [SDPBackend.MATH] if self.device.type == "cpu" else list(FUSED)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_narrow), sdpa_kernel(kernels):
            yield

    @torch.no_grad()
    def embed(self, texts: Sequence[int]) -> torch.Tensor:
        """Unit vectors of texts by number as the body is now, float32 (n, d)."""
        self.model.eval()
        return self.vectors(texts, [])

    def vectors(
        self, texts: Sequence[int], embedded: list[torch.Tensor], pushed: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        """Unit vectors of texts by number, (n, d), with gradients. What each pass through the trained layers
        begins with, token embeddings mostly, is put into `embedded`, or else `pushed` is added to it."""
        order, parts = [], []
        words = self.model.get_input_embeddings()
        for number, positions in enumerate(batches(self.texts.lengths(texts), PASS_TOKENS)):
            chosen = [texts[position] for position in positions]
            ids, mask = self.padded(chosen)
            with self.precision():
                states = self.frozen.states(chosen, ids, mask) if self.frozen else words(ids)  # (b, t, d)
                if pushed:
                    states = states + pushed[number]
                elif self.config.adversarial and torch.is_grad_enabled():
                    states = states if states.requires_grad else states.detach().requires_grad_()
                    states.retain_grad()
                    embedded.append(states)
                states = self.through(states, mask, self.texts.lengths(chosen))
            parts.append(functional.normalize(pool(states, mask, self.pooling.mode), dim=1))
            order += positions.tolist()
        places = torch.empty(len(order), dtype=torch.long)
        places[order] = torch.arange(len(order))
        return torch.cat(parts)[places.to(self.device)]

    def through(self, states: torch.Tensor, mask: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """The last layer's states, (b, t, d) or (b, 1, d), of embeddings or lower layers' states (b, t, d)."""
        if self.packed:
            return self.packed.states(states, lengths)
        is_full = bool(mask.all())  # then attention takes its fastest path
        return self.above(inputs_embeds=states, attention_mask=None if is_full else mask.long())[0]

    def padded(self, texts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(token ids of texts by number, which of them are tokens), both (b, t)."""
        lengths = torch.tensor(self.texts.lengths(texts))
        step = CPU_STEP if self.device.type == "cpu" and self.is_narrow else 1
        width = min(-(-int(lengths.max()) // step) * step, self.texts.max_tokens)
        ids = torch.full((len(texts), width), self.pad_id)
        for row, text in enumerate(texts):
            ids[row, : lengths[row]] = torch.tensor(self.texts.ids[text])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        return ids.to(self.device), mask.to(self.device)

    def finished(self) -> torch.nn.Module:
        """The model as it is kept: adapters merged, new tokens among the others."""
        if self.config.lora_rank:
            self.model = self.model.merge_and_unload()
        learned(self.model)
        return self.model.eval().requires_grad_(False)
