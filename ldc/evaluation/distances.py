"""Distances between generated and real images, on features: KID (the headline), a Frechet distance, nearest training.

KID is unbiased, so it is meaningful at a few hundred images. A Frechet distance on all features is not at such sizes
(its covariance has more entries than there are images), hence the projection to 64 dimensions. Every figure is a pure
function of the features.

Legend: N generated images, M real images, D feature width.
"""

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ldc import randomness

PROJECTED = 64
_SUBSETS = 50
_LARGEST_SUBSET = 200


def kid(generated: Tensor, real: Tensor) -> dict[str, float]:
    """Returns the kernel distance's mean and standard deviation over 50 fixed random subsets.

    A subset holds half of the smaller side, at most 200 images; polynomial kernel of degree 3. Source: Binkowski et
    al. 2018. It can be slightly negative, as an unbiased estimate of zero must.

    Raises:
        ValueError: one side has fewer than 4 images.
    """
    smaller = min(len(generated), len(real))
    if smaller < 4:  # noqa: PLR2004 - half of it must be a pair
        raise ValueError(f"KID must have at least 4 images on each side, not {smaller}.")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # it warns that it keeps the features, which is what we want
        torch.manual_seed(0)
        metric = KernelInceptionDistance(
            nn.Identity(), subsets=_SUBSETS, subset_size=min(smaller // 2, _LARGEST_SUBSET)
        )
        metric.update(real.double(), real=True)
        metric.update(generated.double(), real=False)
        mean, std = metric.compute()
    return {"kid": mean.item(), "kid_std": std.item()}


class Projection(nn.Module):
    """A fixed Gaussian projection of features to 64 dimensions, which keeps squared lengths on average."""

    num_features = PROJECTED

    def __init__(self, width: int) -> None:
        super().__init__()
        matrix = randomness.normal(0, "evaluation/projection", [0], (width, PROJECTED))[0]
        self.register_buffer("matrix", matrix.double() / PROJECTED**0.5)

    def forward(self, features: Tensor) -> Tensor:
        return features.double() @ self.matrix


def frechet64(generated: Tensor, real: Tensor) -> float:
    """Returns the Frechet distance of the projected features, in float64.

    It is biased at small N: compare only figures of one N, which the stamp sees to.

    Raises:
        ValueError: one side has fewer than 2 images.
    """
    smaller = min(len(generated), len(real))
    if smaller < 2:  # noqa: PLR2004 - a covariance needs two
        raise ValueError(f"the Frechet distance must have at least 2 images on each side, not {smaller}.")
    metric = FrechetInceptionDistance(Projection(real.shape[1]))
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return metric.compute().item()


def nearest_distance(features: Tensor, training: Tensor) -> float:
    """Returns the median, over images, of 1 - cosine to the nearest training image: near zero means copies."""
    similarity = F.normalize(features, dim=1) @ F.normalize(training, dim=1).T  # (N, M)
    return (1.0 - similarity.max(dim=1).values).median().item()
