"""Latency, throughput and memory of generating text, by the protocol of Shortened LLaMA (Kim et al. 2024).

One prompt stands M times in a batch and exactly L tokens are generated for each, sampled, with the cache of keys and
values. T is the time of a run; the first runs are discarded; throughput is the mean over the runs of M L / T, and
spreads are population deviations. On CUDA events of the device tell the time, elsewhere the clock does.

Beyond the published figures, T is told apart: the prefill reads the prompt and gives the first token, decoding gives
the L - 1 others. Several models take turns within every run, so that what the machine does meanwhile meets them all.

Legend: M sequences of a batch, P tokens of the prompt, L new tokens.
"""

import gc
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ldc.profiling.machine import peak_memory_gb
from ldc.profiling.stopwatch import Stopwatch

PROMPT = "The Leaning Tower of Pisa is known for"
_DTYPES = ("float32", "bfloat16", "float16")
_MIB = 2**20


@dataclass(frozen=True)
class GenerationProtocol:
    """How generation is timed; `conf/protocol/*.yaml`.

    Attributes:
        name: for reports.
        device: cpu or cuda.
        dtype: of the weights.
        batch_sizes: values of M.
        new_tokens: values of L.
        runs: of each (M, L).
        discarded: how many of these, the first, do not count.
        prompt: text whose tokens, with BOS where the tokenizer gives one, are repeated or cut to `prompt_tokens`.
        prompt_tokens: P.
        sample: false: greedy; the settings below are then not used.
        top_k: tokens that a draw is from.
        top_p: their share of the probability.
        temperature: of the draw.
        seed: of the draws.
    """

    name: str
    device: str
    dtype: str
    batch_sizes: Sequence[int]
    new_tokens: Sequence[int]
    runs: int
    discarded: int
    prompt: str = PROMPT
    prompt_tokens: int = 12
    sample: bool = True
    top_k: int = 50
    top_p: float = 0.95
    temperature: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError for settings that cannot be, and for a device that this machine lacks."""
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"protocol={self.name} must run on a machine with a CUDA device, and this one has none: "
                "choose protocol=cpu, or protocol.device=cpu for this protocol's sizes on the CPU."
            )
        sizes = (*self.batch_sizes, *self.new_tokens, self.prompt_tokens)
        if not self.batch_sizes or not self.new_tokens or any(type(size) is not int or size < 1 for size in sizes):
            raise ValueError(
                "batch_sizes, new_tokens and prompt_tokens of a protocol must be whole numbers from 1, "
                f"not {list(self.batch_sizes)}, {list(self.new_tokens)} and {self.prompt_tokens}."
            )
        if not 0 <= self.discarded < self.runs:
            raise ValueError(f"discarded must be from 0 to below runs, not {self.discarded} of {self.runs}.")
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, not {self.dtype!r}.")

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    def cells(self) -> list[tuple[int, int]]:
        """Returns every (M, L)."""
        return [(size, length) for length in self.new_tokens for size in self.batch_sizes]

    def prompt_ids(self, tokenizer: Any | None) -> Tensor:
        """Returns the prompt, (1, P) int64; without a tokenizer the ids 1 to P, since time does not depend on them."""
        ids = list(range(1, self.prompt_tokens + 1)) if tokenizer is None else list(tokenizer(self.prompt)["input_ids"])
        return torch.tensor([(ids * self.prompt_tokens)[: self.prompt_tokens]])


class Laps(NamedTuple):
    """Seconds of the runs that count, and the highest memory of any run in MiB where it can be told."""

    total: list[float]
    prefill: list[float]
    decode: list[float]
    memory_mib: float | None = None


def time_generation(
    models: Mapping[str, Any],
    prompts: Mapping[str, Tensor],
    protocol: GenerationProtocol,
    batch_size: int,
    new_tokens: int,
    *,
    progress: bool = False,
) -> dict[str, dict[str, Any]]:
    """Returns {label: figures} of one (M, L), the models by turns; see `figures`.

    A model that the device's memory does not hold at this size has {"batch_size", "new_tokens", "note"} alone.

    Args:
        models: of transformers, by label, on the protocol's device.
        prompts: (1, P) by label.
        protocol: of the runs.
        batch_size: M.
        new_tokens: L.
        progress: shows a bar on terminals.
    """
    timers = {label: _Timer(model, protocol, new_tokens) for label, model in models.items()}
    full: set[str] = set()
    title = f"M {batch_size}, L {new_tokens}"
    for number in tqdm(range(protocol.runs), desc=title, unit="run", leave=False, disable=None if progress else True):
        for label in [label for label in models if label not in full]:
            try:
                timers[label].run(prompts[label].expand(batch_size, -1), protocol.seed + number)
            except torch.OutOfMemoryError:
                full.add(label)
                gc.collect()
                torch.cuda.empty_cache()
    alone = len(models) == 1
    cell = {"batch_size": batch_size, "new_tokens": new_tokens}
    return {
        label: {**cell, "note": "out of memory"}
        if label in full
        else figures(timer.laps(protocol.discarded, alone=alone), batch_size, new_tokens, prompts[label].shape[1])
        for label, timer in timers.items()
    }


def figures(laps: Laps, batch_size: int, new_tokens: int, prompt_tokens: int) -> dict[str, Any]:
    """Returns the figures of runs: means, population deviations and rates.

    Throughput: the mean over the runs of M L / T; of the prefill M P / T_prefill, of decoding M (L - 1) / T_decode.
    """
    found: dict[str, Any] = {
        "batch_size": batch_size,
        "new_tokens": new_tokens,
        "prompt_tokens": prompt_tokens,
        "runs": len(laps.total),
    }
    for name, seconds in (("seconds", laps.total), ("prefill_seconds", laps.prefill), ("decode_seconds", laps.decode)):
        found |= {name: statistics.fmean(seconds), f"{name}_std": statistics.pstdev(seconds)}
    found["tokens_per_second"] = _rate(batch_size * new_tokens, laps.total)
    found["prefill_tokens_per_second"] = _rate(batch_size * prompt_tokens, laps.prefill)
    found["decode_tokens_per_second"] = _rate(batch_size * (new_tokens - 1), laps.decode) if new_tokens > 1 else None
    found["memory_mib"] = laps.memory_mib
    return found


def _rate(tokens: int, seconds: Sequence[float]) -> float:
    return statistics.fmean(tokens / lap for lap in seconds)


class _Timer:
    """Runs one model, and keeps the times of its runs."""

    def __init__(self, model: Any, protocol: GenerationProtocol, new_tokens: int):
        from transformers import GenerationConfig  # noqa: PLC0415 - costs seconds

        self._model, self._new_tokens = model, new_tokens
        self._device = torch.device(protocol.device)
        self._weights = sum(parameter.nbytes for parameter in model.parameters())
        self._watches = [Stopwatch(self._device) for _ in range(3)]  # the whole, the prefill, the decoding
        self._peak = 0
        drawn = {"top_k": protocol.top_k, "top_p": protocol.top_p, "temperature": protocol.temperature}
        eos = model.generation_config.eos_token_id
        self._how = GenerationConfig(
            do_sample=protocol.sample,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            eos_token_id=eos,
            pad_token_id=0,
            use_cache=True,
            **(drawn if protocol.sample else {}),
        )

    @torch.inference_mode()
    def run(self, ids: Tensor, seed: int) -> None:
        ids = ids.to(self._device)
        cuda = self._device.type == "cuda"
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if cuda else 0
        whole, prefill, decode = self._watches
        begun: list[bool] = []

        def first_token(tokens: Tensor, scores: Any, **_: Any) -> Tensor:  # noqa: ARG001 - transformers' contract
            if not begun:
                begun.append(True)
                prefill.stop()
                decode.start()
            return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

        with torch.random.fork_rng(devices=[self._device] if cuda else []):
            torch.manual_seed(seed)
            whole.start()
            prefill.start()
            out = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=self._how,
                stopping_criteria=[first_token],
            )
            decode.stop()
            whole.stop()
        if out.shape[1] != ids.shape[1] + self._new_tokens:
            raise ValueError(f"a run must give {self._new_tokens} new tokens, not {out.shape[1] - ids.shape[1]}.")
        if cuda:
            self._peak = max(self._peak, torch.cuda.max_memory_allocated() - before + self._weights)

    def laps(self, discarded: int, *, alone: bool) -> Laps:
        total, prefill, decode = (watch.laps()[discarded:] for watch in self._watches)
        if self._device.type == "cuda":
            return Laps(total, prefill, decode, self._peak / _MIB)
        # The process's peak says nothing of one model beside others.
        return Laps(total, prefill, decode, peak_memory_gb("cpu") * 1024 if alone else None)
