"""Pretraining of a text encoder: it regresses the states that a larger, pretrained encoder has for the same caption.

    p_r = A sum_l P_rl h_l + b              h = E(tokens), P averages the tokens of word r, or picks the end token
    L   = mean over rows r that both encoders have, and over R, of (p_r - target_r)^2

The targets (see ldc.data.captions) are the reference's states averaged over each word's pieces, so the two encoders
need not share a tokenizer. The end token's row learns the whole caption's mean state.

Legend: B batch, W words, L tokens, D text width, R the reference's width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ldc.data.captions import CaptionStatesBatch
from ldc.diffusion.process import at_least_float32
from ldc.objectives.base import Draws, Networks, Objective, report


class StateRegressor(nn.Module):
    """A text encoder under a linear head; the head is thrown away after training.

    Args:
        text_encoder: transformers' CLIPTextModel of width D.
        reference_width: R.
    """

    def __init__(self, text_encoder: Any, reference_width: int):
        super().__init__()
        self.text_encoder = text_encoder
        self.head = nn.Linear(text_encoder.config.hidden_size, reference_width)

    def forward(self, tokens: Tensor, pooling: Tensor) -> Tensor:
        """Returns the predicted states, (B, W + 1, R), of tokens (B, L) pooled by (B, W + 1, L)."""
        states = self.text_encoder(input_ids=tokens).last_hidden_state  # (B, L, D)
        return self.head(pooling.to(states.dtype) @ states)

    def enable_gradient_checkpointing(self) -> None:
        """Recomputes activations in the backward pass."""
        self.text_encoder.gradient_checkpointing_enable()


class CaptionStates(Objective):
    """The loss above, for a student that is a `StateRegressor`; it draws nothing."""

    def __init__(self, *, seed: int = 0):
        super().__init__(process=None, seed=seed)  # pyrefly: ignore  text is encoded outside of any process

    def draw(self, batch: CaptionStatesBatch, seed: int) -> Draws:  # noqa: ARG002  the contract's signature
        """Returns empty draws."""
        return Draws(torch.zeros_like(batch.positions), batch.targets.new_empty(0))

    def losses(self, networks: Networks, batch: CaptionStatesBatch, draws: Draws) -> dict[str, Tensor]:  # noqa: ARG002
        """Returns total and states, scalars."""
        predicted = networks.student(batch.tokens, batch.pooling)
        squares = (at_least_float32(predicted) - at_least_float32(batch.targets)).square().mean(-1)  # (B, W + 1)
        mask = batch.mask.to(squares.dtype)
        return report({"states": (squares * mask).sum() / mask.sum()}, {"states": 1.0})
