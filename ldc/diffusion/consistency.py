"""The parts of a consistency function: boundary scalings and the embedding of the guidance weight.

f(x_t, w, c, t) = c_skip(t) x_t + c_out(t) x_0(x_t, w, c, t) is the identity at t = 0 (Luo et al. 2023, eq. 9).

Legend: B batch, t integer timestep, w guidance weight in LCM's convention (diffusers' guidance_scale - 1).
"""

from functools import lru_cache

import torch
from torch import Tensor


def boundary_scalings(
    t: Tensor, sigma_data: float = 0.5, timestep_scaling: float = 10.0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Returns c_skip = s_d^2 / ((s t)^2 + s_d^2) and c_out = s t / sqrt((s t)^2 + s_d^2), (B,).

    At t = 0 they are 1 and 0 exactly. Source: Luo et al. 2023, Appendix;
    s is `timestep_scaling` (there 1 / 0.1), s_d is `sigma_data`.
    """
    scaled = t.to(dtype) * timestep_scaling
    square = scaled.square() + sigma_data**2
    return sigma_data**2 / square, scaled / square.sqrt()


def guidance_embedding(w: Tensor, dim: int) -> Tensor:
    """Returns the sinusoids [sin, cos](1000 w f_i), f_i = 10000^(-i / (dim/2 - 1)), (B, dim), in at least float32.

    The frequencies' rate is rounded to float32 as in diffusers' LatentConsistencyModelPipeline, to which this is equal,
    so a student is trained on exactly what the pipeline will feed it. Source: Meng et al. 2023 (guided distillation).

    Raises:
        ValueError: `dim` is odd, or below 4.
    """
    if dim % 2 or dim <= 2:  # noqa: PLR2004 - two sinusoids of one frequency have no rate
        raise ValueError(f"guidance embedding dim must be even and at least 4, not {dim}.")
    dtype = torch.promote_types(w.dtype, torch.float32)
    # Of fake tensors (sizes without numbers) none may be kept, nor be given a kept one.
    make = _frequencies if type(w) is Tensor else _frequencies.__wrapped__
    frequencies = make(dim, dtype, w.device)
    angles = (w * 1000.0).to(dtype)[:, None] * frequencies[None, :]  # (B, dim / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


@lru_cache(maxsize=16)  # made on the host: a copy in each step would wait for the device
def _frequencies(dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    rate = torch.log(torch.tensor(10000.0)) / (dim // 2 - 1)
    return torch.exp(torch.arange(dim // 2, dtype=dtype) * -rate).to(device)  # (dim / 2,)
