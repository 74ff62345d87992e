"""Next-token prediction on packed texts or instructions (continued pretraining and LoRA retraining of a pruned model).

    task = -1/N sum_bl log p(x_bl+1 | x_b..l)        over the N places whose next token has a label

The mean is over tokens. Micro-batches have unequal numbers of labels, so a mean of their means would weigh the tokens
of short answers more; `weight` tells the trainer how many tokens a micro-batch's mean stands for, and a step takes the
mean over all labels of its whole batch, on all ranks.

Legend: B batch, L tokens, D width, V vocabulary, N labels. Perplexity is exp(task).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.utils.checkpoint import checkpoint

from ldc.data.text import NO_LOSS, TokenBatch
from ldc.objectives.base import Networks, report

_SCALES = ("logits_scaling", "logit_scale")  # of architectures whose head is not the product alone


class TokenSums(NamedTuple):
    """Sums over the labels of a batch, scalars in float32."""

    task: Tensor  # of -log p(label), nats
    logits: Tensor  # of T^2 KL(parent || model) at temperature T, nats; 0 without a parent
    count: Tensor  # labels


class CausalScores(nn.Module):
    """Runs a causal language model and scores it in one forward, so that DDP, FSDP2 and compile wrap all of it.

    Logits are made for `chunk_tokens` places at a time, and made again in the backward pass, where there are more: at a
    vocabulary of 128,000 those of a batch would need more memory than all else. They are never held twice.

    Args:
        model: transformers' LlamaForCausalLM or a relative: a trunk `model` under a head `lm_head`.
        chunk_tokens: places whose logits are held at a time.

    Raises:
        ValueError: the model has no such parts, or scales its logits.
    """

    def __init__(self, model: Any, chunk_tokens: int = 2048):
        super().__init__()
        kind = type(model).__name__
        if not hasattr(model, "lm_head") or not hasattr(getattr(model, "model", None), "layers"):
            raise ValueError(f"model must be a causal language model with model.layers and lm_head, not {kind}.")
        scales = [name for name in _SCALES if getattr(model.config, name, None) is not None]
        if scales:
            raise ValueError(f"model must have plain logits to be trained here, but {kind} has {scales[0]}.")
        if chunk_tokens < 1:
            raise ValueError(f"chunk_tokens must be at least 1, not {chunk_tokens}.")
        self.model = model
        self.chunk_tokens = chunk_tokens
        self.cap = getattr(model.config, "final_logit_softcapping", None)  # Gemma 2: c tanh(z / c)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        labels: Tensor | None = None,
        parent: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor | TokenSums:
        """Returns the logits (B, L - 1, V) of all tokens but the first, or, of labels (B, L), the sums over labels.

        `parent` are a parent's logits (B, L - 1, V). They are read where they are: a copy would cost gigabytes.
        """
        states = self.model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state  # (B, L, D)
        states = states[:, :-1]  # nothing follows the last place
        if labels is None:
            return self.head(states)
        places = states.flatten(0, 1).split(self.chunk_tokens)
        wanted = labels[:, 1:].flatten().split(self.chunk_tokens)
        theirs: Any = [None] * len(places) if parent is None else parent.flatten(0, 1).split(self.chunk_tokens)
        sums = [
            checkpoint(self._sums, *chunk, temperature, use_reentrant=False)
            if len(places) > 1 and torch.is_grad_enabled()
            else self._sums(*chunk, temperature)
            for chunk in zip(places, wanted, theirs, strict=True)
        ]
        task, divergence = (torch.stack(terms).sum() for terms in zip(*sums, strict=True))
        return TokenSums(task, divergence, num_labels(labels))

    def head(self, states: Tensor) -> Tensor:
        """Returns the logits (..., V) of states (..., D)."""
        logits = self.model.lm_head(states)
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def _sums(self, states: Tensor, labels: Tensor, parent: Tensor | None, t: float) -> tuple[Tensor, Tensor]:
        logits = self.head(states).float()  # (places, V)
        task = cross_entropy(logits, labels, ignore_index=NO_LOSS, reduction="sum")
        if parent is None:
            return task, torch.zeros_like(task)
        ours, theirs = (log_softmax(z / t, -1) for z in (logits, parent.float()))
        by_place = kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
        return task, t**2 * (by_place * (labels != NO_LOSS)).sum()

    def enable_gradient_checkpointing(self) -> None:
        """Recomputes the blocks' activations in the backward pass."""
        settings = {"use_reentrant": False}
        if hasattr(self.model, "activation_checkpointing_enable"):  # its name in later versions of transformers
            self.model.activation_checkpointing_enable(settings)
        else:
            self.model.gradient_checkpointing_enable(settings)


def num_labels(labels: Tensor) -> Tensor:
    """Returns how many labels (B, L) are predicted: the first place has nothing before it."""
    return (labels[:, 1:] != NO_LOSS).sum()


def token_mean(total: Tensor, count: Tensor) -> Tensor:
    """Returns total / count, 0 where there is nothing to take the mean of."""
    return total / count.clamp(min=1)


class LanguageModelling(nn.Module):
    """The loss above, for a student that is a `CausalScores`; it draws nothing. It reports total and task."""

    needs: tuple[str, ...] = ()

    def __init__(self, *, seed: int = 0):
        super().__init__()
        self.seed = seed  # as all objectives have one

    def forward(self, networks: Networks, batch: TokenBatch) -> dict[str, Tensor]:
        """Returns total and task, and what enters the total, scalars in float32."""
        sums = networks.student(batch.ids, batch.mask, batch.labels)
        return report({"task": token_mean(sums.task, sums.count)}, {"task": 1.0})

    def weight(self, batch: TokenBatch) -> Tensor:
        """Returns the number of labels that the batch's means are over."""
        return num_labels(batch.labels)
