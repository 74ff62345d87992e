"""Intervals of figures and of paired differences, over the prompts and over the seeds of training.

Models that drew the same prompts from the same noise are paired: each replicate resamples the prompts once, and with
them their real images, for all models and all seeds, so what a prompt does to both models leaves their difference.

A replicate of the mean over S seeds is

    mean over s of m_s(resampled prompts) + t sd / sqrt(S),    t ~ Student's t with S - 1 degrees of freedom,

where m_s is the figure of seed s and sd the deviation of the m_s. To resample the seeds themselves would be too narrow:
of three values the bootstrap shows two thirds of the variance and none of the tails. With one seed only the first term
is there, and the interval does not cover what another training run would give.

Legend: N prompts, M distinct real images, R replicates, S seeds, D feature width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ldc import randomness

LEVEL = 0.95
_DEGREE, _COEFFICIENT = 3, 1.0  # of KID's polynomial kernel


class Estimate(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float
    high: float


class Sampled(NamedTuple):
    """One figure of one model and seed: on all prompts, and on each replicate's."""

    value: float
    replicates: Tensor  # (R,) float64


def resample(num_prompts: int, replicates: int, seed: int = 0) -> Tensor:
    """Returns how often each replicate has each prompt, (R, N) float64: draws with replacement, the same at any call.

    Raises:
        ValueError: there are fewer than 2 prompts, or no replicates.
    """
    if num_prompts < 2 or replicates < 1:  # noqa: PLR2004 - one prompt leaves nothing to resample
        raise ValueError(
            f"a bootstrap must have at least 2 prompts and 1 replicate, not {num_prompts} and {replicates}."
        )
    draws = randomness.generator(seed, "evaluation/bootstrap", 0)
    shares = np.full(num_prompts, 1.0 / num_prompts)
    return torch.from_numpy(draws.multinomial(num_prompts, shares, size=replicates)).double()


def share(right: Tensor, counts: Tensor) -> Sampled:
    """Returns the share of images that are right.

    Args:
        right: (N,) bool.
        counts: (R, N), of `resample`.
    """
    hits = right.double()
    return Sampled(hits.mean().item(), counts @ hits / counts.sum(dim=1))


def kid(generated: Tensor, real: Tensor, place: Tensor, counts: Tensor) -> Sampled:
    """Returns the kernel distance over all pairs of different prompts.

    It is the mean over i != j of

        h(i, j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i),

    x generated, y real (Gretton et al. 2012, eq. 4; Binkowski et al. 2018 for the kernel). An image and the real image
    of its own prompt are no pair: they depend on one another, and a replicate that has the prompt twice would count
    their likeness twice. `distances.kid` counts it once, so it is lower by about 2 / N of that likeness.

    Args:
        generated: (N, D) features.
        real: (M, D) features of the real images of the prompts.
        place: (N,) int64, row of `real` that belongs to each prompt.
        counts: (R, N), of `resample`.

    Raises:
        ValueError: all prompts have one real image.
    """
    x, y = generated.double(), real.double()
    mixed = _kernel(x, y)[:, place]  # (N, N)
    h = _kernel(x, x) + _kernel(y, y)[place][:, place] - mixed - mixed.T
    different = (place[:, None] != place[None]).double()
    if not different.any():
        raise ValueError(f"prompts must have at least 2 different real images, not {len(place.unique())}.")
    sums = ((counts @ (h * different)) * counts).sum(dim=1)
    pairs = ((counts @ different) * counts).sum(dim=1)
    # A replicate of one prompt alone, as few prompts may give, has no pairs.
    replicates = sums[pairs > 0] / pairs[pairs > 0]
    return Sampled(((h * different).sum() / different.sum()).item(), replicates)


def difference(one: Sequence[Sampled], other: Sequence[Sampled]) -> list[Sampled]:
    """Returns one - other for each seed, of the same prompts and noise."""
    return [Sampled(a.value - b.value, a.replicates - b.replicates) for a, b in zip(one, other, strict=True)]


def interval(seeds: Sequence[Sampled], level: float = LEVEL) -> Estimate:
    """Returns the mean over the seeds with the interval that holds `level` of its replicates.

    Raises:
        ValueError: there are no seeds, or `level` is not between 0 and 1.
    """
    if not seeds:
        raise ValueError("seeds must be at least one, not none.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, not {level}.")
    values = torch.tensor([seed.value for seed in seeds], dtype=torch.float64)
    replicates = torch.stack([seed.replicates for seed in seeds]).mean(dim=0)  # (R,)
    if len(seeds) > 1:
        t = randomness.generator(0, "evaluation/seeds", 0).standard_t(len(seeds) - 1, size=len(replicates))
        replicates = replicates + torch.from_numpy(t) * values.std() / len(seeds) ** 0.5
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(replicates, ends).tolist()
    return Estimate(values.mean().item(), low, high)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + _COEFFICIENT) ** _DEGREE
