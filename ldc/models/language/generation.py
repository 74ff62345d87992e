"""Continues texts with a language model, one prompt at a time: a text depends on its own prompt and seed alone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def continue_texts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> list[str]:
    """Returns what follows each prompt, up to the tokenizer's end of text or `max_new_tokens`.

    Args:
        model: a causal language model of transformers, or a student with its interface.
        tokenizer: the model's.
        prompts: an empty one begins with the tokenizer's BOS alone.
        max_new_tokens: at most so many.
        temperature: None for the likeliest token each time; else tokens are drawn.
        top_p: of the likeliest tokens that have this much probability together; None: of all.
        seed: prompt k's tokens are drawn with seed + k.

    Raises:
        ValueError: there is no tokenizer, a prompt with its continuation is longer than the model's context, or it has
            no token.
    """
    if tokenizer is None:
        raise ValueError("student must have a tokenizer to continue texts, but its folder has none.")
    rows = [_ids(model, tokenizer, prompt, max_new_tokens) for prompt in prompts]
    # All are given: what the checkpoint's generation_config.json says of drawing must not count beside them.
    drawing = {"do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50}  # the last three: transformers' own
    if temperature is not None:
        drawing = {"do_sample": True, "temperature": temperature, "top_p": 1.0 if top_p is None else top_p, "top_k": 0}
    drawing |= {"max_new_tokens": max_new_tokens, "pad_token_id": tokenizer.eos_token_id or 0}
    return [_continue(model, tokenizer, ids, seed + number, drawing) for number, ids in enumerate(rows)]


def _ids(model: Any, tokenizer: Any, prompt: str, max_new_tokens: int) -> Tensor:
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(torch.int64)  # (1, L)
    if ids.shape[1] == 0:
        if tokenizer.bos_token_id is None:
            raise ValueError("prompt must have at least one token, but it is empty and the tokenizer has no BOS token.")
        ids = torch.tensor([[tokenizer.bos_token_id]])
    context = model.config.max_position_embeddings
    if ids.shape[1] + max_new_tokens > context:
        raise ValueError(
            f"max_new_tokens must be at most {context} less the prompt's {ids.shape[1]} tokens, the model's context, "
            f"not {max_new_tokens}."
        )
    return ids


@torch.no_grad()
def _continue(model: Any, tokenizer: Any, ids: Tensor, seed: int, drawing: dict[str, Any]) -> str:
    ids = ids.to(model.device)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)  # transformers draws from the global generator
        out = model.generate(ids, attention_mask=torch.ones_like(ids), **drawing)  # (1, L + new)
    # Decoded alone, the first new word would lose the space before it with some tokenizers.
    before, whole = (tokenizer.decode(row, skip_special_tokens=True) for row in (ids[0], out[0]))
    return whole[len(before) :]
