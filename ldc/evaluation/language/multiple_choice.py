"""Accuracy on multiple-choice questions by the log-likelihood of the choices, as lm-evaluation-harness defines it.

A choice c after context q scores sum_l log p(c_l | q, c_<l). `acc` takes the choice of the highest score; `acc_norm`
divides a score by the characters of its choice first. Nothing is generated, no example is shown (0-shot).

Legend: N questions, B sequences of a batch, L tokens of its longest, V vocabulary.
"""

import hashlib
import json
from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ldc.evaluation.bootstrap import Estimate

_Z = 1.959964  # of a 95 % interval
_PAD = 0  # any id: what stands behind a sequence does not change a causal model's answer to it


class Question(NamedTuple):
    """A context, what may follow it, and the place of the choice that does."""

    context: str
    choices: tuple[str, ...]
    answer: int


class Accuracy(NamedTuple):
    """Shares of questions answered rightly, with 95 % Wilson intervals; `correct` lets models be compared in pairs."""

    acc: Estimate
    acc_norm: Estimate
    questions: int
    chance: float
    ids: str  # 16 hex digits of the token ids that were scored
    correct: tuple[bool, ...]  # by acc, question by question


class _Scored(NamedTuple):
    ids: list[int]  # of context and choice
    start: int  # place of the choice's first token


def questions_of(rows: Sequence[Any]) -> list[Question]:
    """Returns questions from rows {"context", "choices", "answer"}, checked.

    Raises:
        ValueError: there are none, or one has fewer than 2 choices, an empty text, or an answer that is none of them.
    """
    if not rows:
        raise ValueError("questions must be at least one, not none.")
    questions = [Question(row["context"], tuple(row["choices"]), int(row["answer"])) for row in rows]
    for number, (context, choices, answer) in enumerate(questions):
        if len(choices) < 2 or not 0 <= answer < len(choices) or not context or not all(choices):  # noqa: PLR2004
            raise ValueError(
                f"Question {number} must have a context, 2 or more choices and the place of one as answer, "
                f"not {len(choices)} choices and answer {answer}."
            )
    return questions


def accuracy(
    model: Any,
    tokenizer: Any,
    questions: Sequence[Question],
    *,
    batch_size: int = 32,
    bos: bool = False,
    title: str | None = None,
) -> Accuracy:
    """Returns the share of questions whose right choice scores highest.

    Args:
        model: of transformers.
        tokenizer: of transformers.
        questions: N of them, of `questions_of`.
        batch_size: sequences of one pass.
        bos: a BOS token stands before each context (the harness' `add_bos_token`, false there too).
        title: of a progress bar, which terminals alone show; None: none.

    Raises:
        ValueError: there are no questions, or `bos` is asked of a tokenizer without one.
    """
    if not questions:
        raise ValueError("questions must be at least one, not none.")
    if bos and tokenizer.bos_token_id is None:
        raise ValueError("bos must be false for a tokenizer without a BOS token, not true.")
    pairs = [(question.context, choice) for question in questions for choice in question.choices]
    scored = [_encode(tokenizer, context, choice, bos=bos) for context, choice in pairs]
    scores = log_likelihoods(model, scored, batch_size, title).tolist()  # the only wait for the device
    right, right_norm, at = [], [], 0
    for question in questions:
        own = scores[at : at + len(question.choices)]
        at += len(own)
        by_length = [score / len(choice) for score, choice in zip(own, question.choices, strict=True)]
        right.append(own.index(max(own)) == question.answer)
        right_norm.append(by_length.index(max(by_length)) == question.answer)
    chance = sum(1 / len(question.choices) for question in questions) / len(questions)
    digest = hashlib.sha256(json.dumps(scored).encode()).hexdigest()[:16]
    return Accuracy(
        wilson(sum(right), len(right)),
        wilson(sum(right_norm), len(right_norm)),
        len(questions),
        chance,
        digest,
        tuple(right),
    )


@torch.inference_mode()
def log_likelihoods(model: Any, scored: Sequence[_Scored], batch_size: int, title: str | None = None) -> Tensor:
    """Returns the log-likelihood of each choice after its context, float64, on the model's device.

    Sequences of like length share a batch, the longest first, so that a lack of memory shows at once.
    """
    device = next(model.parameters()).device
    scores = torch.zeros(len(scored), dtype=torch.float64, device=device)
    order = sorted(range(len(scored)), key=lambda place: -len(scored[place].ids))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    for places in tqdm(batches, desc=title, unit="batch", leave=False, disable=True if title is None else None):
        own = [scored[place] for place in places]
        longest, first = len(own[0].ids), min(item.start for item in own)
        ids = torch.tensor([item.ids + [_PAD] * (longest - len(item.ids)) for item in own]).to(device)  # (B, L)
        kept = longest - first + 1  # the logits that predict a choice's token: the first is read one place before it
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits[:, :-1].float()
        targets = ids[:, first:]  # (B, L - first)
        log_p = logits.gather(-1, targets[..., None]).squeeze(-1).double() - logits.logsumexp(dim=-1).double()
        where = torch.arange(first, longest)
        inside = torch.stack([(where >= item.start) & (where < len(item.ids)) for item in own]).to(device)
        scores[torch.tensor(places, device=device)] = log_p.masked_fill(~inside, 0.0).sum(dim=-1)
    return scores


def wilson(hits: int, count: int) -> Estimate:
    """Returns hits / count with its 95 % interval (Wilson 1927), which stays in [0, 1] and is right near the ends."""
    share = hits / count
    centre = share + _Z**2 / (2 * count)
    half = _Z * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    scale = 1 + _Z**2 / count
    return Estimate(share, max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def _encode(tokenizer: Any, context: str, choice: str, *, bos: bool) -> _Scored:
    """Splits as the harness does: blanks at the context's end belong to the choice, tokens are those of the whole."""
    head = context.rstrip()
    tail = context[len(head) :] or " "
    before = tokenizer(head, add_special_tokens=False, verbose=False)["input_ids"]
    ids = tokenizer(head + tail + choice, add_special_tokens=False, verbose=False)["input_ids"]
    start = min(len(before), len(ids) - 1)
    first = [tokenizer.bos_token_id] if bos else []
    if start < 1 and not first:  # no token to predict from: the harness reads its end-of-text token there
        first = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id]
    return _Scored([*first, *ids], start + len(first))
