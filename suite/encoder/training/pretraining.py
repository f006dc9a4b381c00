"""Domain-adaptive pretraining: the body learns to guess masked tokens of unlabelled texts, before it is fine-tuned.

Masked language modelling after Devlin et al., BERT, 2019; to go on with it on the texts of one's own domain after
Gururangan et al., Don't Stop Pretraining, 2020. The loop is that of fine-tuning, with another loss and metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch.nn import functional

from suite.encoder.checkpoint import FUNNEL
from suite.encoder.model import Encoder, batches
from suite.encoder.training.config import ConfigError, TrainingConfig
from suite.encoder.training.loop import Run, carried_out
from suite.encoder.training.progress import Progress, Report
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import TextTask, TrainingError
from suite.encoder.training.trained_body import PASS_TOKENS
from suite.encoder.training.validation import sampled

NAME = "masked tokens"  # the task's name, on pages and in logs; its metric is the share of them that is guessed
MASKED = 0.15  # share of the tokens that are to be guessed
SHOWN, RANDOM = 0.1, 0.1  # shares of those that stand as they are, and that are another token; the rest is the mask
VALIDATION = 20  # one text in so many is held out
LEAST = 40  # texts
MASKS = ("[MASK]", "<mask>")
DEFAULT = TrainingConfig(epochs=1, hard_negatives=0, retention=0)
USED = ("body", "epochs", "minutes", "seed", "batch_size", "accumulate", "max_tokens", "learning_rate", "head_rate",
        "layer_decay", "warm_up", "weight_decay", "clip", "dropout", "is_embedding_trained", "new_characters",
        "precision", "evaluations", "evaluating", "patience", "average", "checkpoint_seconds", "lora_rank",
        "processes")  # fmt: skip


def pretrain(
    encoder: Encoder, texts: Iterable[str], config: TrainingConfig, folder: RunFolder, report: Report
) -> tuple[Encoder, Progress]:
    """A copy of the encoder whose body has read the texts, without heads. Goes on from the folder's state where there
    is one. Raises `TrainingError`, `ConfigError`, and what `report` raises."""
    if encoder.pooling.mode == FUNNEL:
        raise TrainingError("this body gives no states of tokens, as it was made smaller: pretrain the large one")
    different = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if len(different) < LEAST:
        raise TrainingError(f"there are {len(different)} different texts to read, {LEAST} at least are needed")
    if meaningless := sorted(name for name, value in config.as_dict().items()
                             if name not in USED and value != getattr(DEFAULT, name)):  # fmt: skip
        raise ConfigError(f"{', '.join(meaningless)} has no meaning in pretraining; the fields are {', '.join(USED)}")
    read = [text for place, text in enumerate(different) if place % VALIDATION]
    task = TextTask(NAME, read, different[::VALIDATION])
    return carried_out(Pretraining, encoder, [task], replace(config, hard_negatives=0, retention=0), folder, report)


class Guesses(torch.nn.Module):
    """Logits of every token of the vocabulary, from the states of the masked ones: (m, d) -> (m, v)."""

    def __init__(self, dimensions: int, width: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(dimensions, width)
        self.norm = torch.nn.LayerNorm(width)
        self.bias = torch.nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        return self.norm(functional.gelu(self.dense(states))) @ words.T + self.bias


class Pretraining(Run):
    """One body that reads."""

    def new_heads(self) -> torch.nn.Module:
        tokenizer = self.encoder.tokenizer
        found = [number for name in MASKS if (number := tokenizer.token_to_id(name)) is not None]
        if not found:
            raise TrainingError(f"the tokenizer has no token {' or '.join(MASKS)}: this body cannot be pretrained")
        self.mask_id = found[0]
        special = [number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]
        self.special = torch.tensor(special, device=self.device)
        self.vocabulary, width = self.body.model.get_input_embeddings().weight.shape
        return Guesses(self.encoder.dimensions, width, self.vocabulary)

    def backward(self, which: int, positions: Iterable[int]) -> float:
        """Add the batch's gradients; its mean loss of a masked token."""
        texts = [self.tasks[which].train[position].texts[0] for position in positions]
        passes = list(self.passes(texts, None))
        count = sum(len(right) for _, _, _, right in passes)
        total = 0.0
        for seen, mask, chosen, right in passes:
            loss = functional.cross_entropy(self.guesses(seen, mask, chosen), right, reduction="sum") / count
            if not torch.isfinite(loss):
                raise TrainingError("the loss is not a number any more; use a lower learning_rate")
            (loss / self.config.accumulate).backward()
            total += float(loss.detach())
        return total

    @torch.no_grad()
    def measured(self) -> dict[str, float]:
        """The share of masked tokens that are guessed, the same ones every time."""
        self.body.model.eval()
        dice = torch.Generator().manual_seed(self.config.seed)
        count = hits = 0
        for seen, mask, chosen, right in self.passes([one.texts[0] for one in sampled(self.tasks[0].validation)], dice):
            hits += int((self.guesses(seen, mask, chosen).argmax(dim=1) == right).sum())
            count += len(right)
        return {NAME: round(hits / count, 6)}

    def passes(self, texts: Sequence[int], dice: torch.Generator | None) -> Iterator[tuple[torch.Tensor, ...]]:
        """(what the body sees (b, t), which are tokens (b, t), which are to be guessed (b, t), what they are (m,))."""
        for places in batches(self.texts.lengths(texts), PASS_TOKENS):
            ids, mask = self.body.padded([texts[place] for place in places])
            words = mask & ~torch.isin(ids, self.special)
            drawn, way = (torch.rand(ids.shape, generator=dice).to(self.device) for _ in range(2))
            others = torch.randint(self.vocabulary, ids.shape, generator=dice).to(self.device)
            chosen = words & (drawn < MASKED)
            if not chosen.any():  # a few short texts
                chosen = words if words.any() else mask
            seen = torch.where(chosen & (way >= SHOWN), torch.full_like(ids, self.mask_id), ids)
            seen = torch.where(chosen & (way >= 1 - RANDOM), others, seen)
            yield seen, mask, chosen, ids[chosen]

    def guesses(self, seen: torch.Tensor, mask: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Logits, float32 (m, v)."""
        with self.body.precision():
            words = self.body.model.get_input_embeddings()
            states = self.body.through(words(seen), mask, mask.sum(dim=1).tolist())
            return self.heads(states[chosen], words.weight).float()
