"""Characters that the body's tokenizer does not know: it makes one and the same unknown token of all of them, so of a
language that the body never read hardly anything is left. Where training texts are full of them, each becomes a token
of its own, whose embedding is learned from nothing, at the rate of the heads.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch.nn import functional

from suite.encoder.model import Encoder, clean

UNKNOWN = ("[UNK]", "<unk>")
SHARE = 0.02  # of all tokens that are unknown: from there on characters become tokens
UNREADABLE = 0.2  # share of a text's tokens that are new, above which the body could not read it
LEAST = 5  # texts that such a character stands in
BESIDE = "x"  # a character of a word need not be known where it is known alone
SEED = 0


def unread(tokenizer: Tokenizer, texts: Iterable[str], most: int) -> list[str]:
    """The characters that are to become tokens, the `most` commonest; none where nearly all tokens are known."""
    unknown = next((number for name in UNKNOWN if (number := tokenizer.token_to_id(name)) is not None), None)
    if unknown is None or not most or unknown in ids_of(tokenizer, BESIDE) or has_gaps(tokenizer):
        return []
    different = [clean(text, number) for number, text in enumerate(dict.fromkeys(texts))]
    ids = [one.ids for one in tokenizer.encode_batch_fast(different, add_special_tokens=False)]
    hidden = [text for text, known in zip(different, ids, strict=True) if unknown in known]
    if sum(one.count(unknown) for one in ids) < SHARE * sum(map(len, ids)):
        return []
    normalise = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    counts = Counter(character for text in hidden for character in set(normalise(text)) if not character.isspace())
    common = [character for character, count in counts.items() if count >= LEAST]
    wanted = [one for one in common if unknown in ids_of(tokenizer, BESIDE + one)]
    return sorted(wanted, key=lambda one: (-counts[one], one))[:most]  # in the same order in every process


def grown(encoder: Encoder, characters: list[str]) -> Encoder:
    """The encoder, without heads, with a token for each character; they begin as random as its own tokens lie."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    first = size_of(tokenizer)
    tokenizer.add_tokens([AddedToken(one, normalized=True) for one in characters])
    model = copy.deepcopy(encoder.model)
    words = model.get_input_embeddings()
    known = words.weight.detach()[:first]
    dice = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(max(size_of(tokenizer), len(words.weight)) - len(known), known.shape[1], generator=dice)
    fresh = known.mean(dim=0) + known.std(dim=0) * drawn.to(known)
    model.set_input_embeddings(embedding_of(torch.cat([known, fresh]), words.padding_idx))
    model.config.vocab_size = len(known) + len(fresh)
    return Encoder(
        model, tokenizer, encoder.pooling, {}, body=encoder.body, weights=None, device=encoder.device,
        config=encoder.config_with(vocab_size=model.config.vocab_size, weights=""), threads=encoder.threads,
    )  # fmt: skip


def unreadable(first: int, ids: Sequence[Sequence[int]]) -> set[int]:
    """Numbers of the texts, given as token ids, that the body could not read: many tokens are new, from `first` on."""
    return {number for number, one in enumerate(ids) if sum(token >= first for token in one) > UNREADABLE * len(one)}


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def size_of(tokenizer: Tokenizer) -> int:
    """Tokens; the next one gets this number, where there are no gaps."""
    return tokenizer.get_vocab_size(with_added_tokens=True)


def has_gaps(tokenizer: Tokenizer) -> bool:
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1 != size_of(tokenizer)


def embedding_of(weight: torch.Tensor, padding: int | None) -> torch.nn.Embedding:
    return torch.nn.Embedding.from_pretrained(weight, freeze=False, padding_idx=padding)


class GrownEmbedding(torch.nn.Module):
    """Token embeddings whose last rows, from `first` on, are a parameter of their own: they learn where the others are
    frozen, and faster where those learn, too."""

    def __init__(self, words: torch.nn.Embedding, first: int) -> None:
        super().__init__()
        self.padding = words.padding_idx
        self.known = torch.nn.Parameter(words.weight.detach()[:first], requires_grad=words.weight.requires_grad)
        self.fresh = torch.nn.Parameter(words.weight.detach()[first:].clone())

    @property
    def weight(self) -> torch.Tensor:
        return torch.cat([self.known, self.fresh])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        first = len(self.known)
        known = functional.embedding(ids.clamp(max=first - 1), self.known)
        fresh = functional.embedding((ids - first).clamp(min=0), self.fresh)
        return torch.where((ids >= first)[..., None], fresh, known)


def learn_apart(model: Any, first: int) -> None:
    """Let the token embeddings from `first` on be a parameter of their own, until `learned`."""
    model.set_input_embeddings(GrownEmbedding(model.get_input_embeddings(), first))


def learned(model: Any) -> None:
    """Put them back."""
    words = model.get_input_embeddings()
    if isinstance(words, GrownEmbedding):
        model.set_input_embeddings(embedding_of(words.weight.detach(), words.padding))
