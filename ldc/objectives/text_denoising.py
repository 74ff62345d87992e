"""Diffusion training in which the text encoder trains with the U-Net, as the embedded teacher is made.

    L = mean((U(x_t, t, E(caption)) - target)^2)

Legend: B batch, C latent channels, H x W latent size, L tokens, D text width, T timesteps, U U-Net, E text encoder.
"""

from typing import Any

from torch import Tensor, nn

from ldc import randomness
from ldc.data.batch import ImageTextBatch
from ldc.diffusion.process import Process
from ldc.objectives.base import Draws, Networks, Objective, mean_squared_error, report


class TextConditioned(nn.Module):
    """A U-Net and its text encoder as one network, so that both train under one wrapper.

    Args:
        unet: diffusers' UNet2DConditionModel.
        text_encoder: transformers' CLIPTextModel, as wide as the U-Net's cross attention.

    Raises:
        ValueError: the widths differ.
    """

    def __init__(self, unet: Any, text_encoder: Any):
        super().__init__()
        width, expected = text_encoder.config.hidden_size, unet.config.cross_attention_dim
        if width != expected:
            raise ValueError(f"text encoder's width must be the U-Net's cross_attention_dim {expected}, not {width}.")
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """Returns the U-Net's output, (B, C, H, W), for x_t (B, C, H, W), t (B,) and tokens (B, L)."""
        states = self.text_encoder(input_ids=tokens)[0]  # (B, L, D)
        return self.unet(x_t, t, states, return_dict=False)[0]

    def enable_gradient_checkpointing(self) -> None:
        """Recomputes activations in the backward pass."""
        self.unet.enable_gradient_checkpointing()
        self.text_encoder.gradient_checkpointing_enable()

    def parameter_groups(self, lr: float, text_lr_ratio: float = 0.25) -> list[dict[str, Any]]:
        """Returns an optimizer's groups: the pretrained text encoder moves at a fraction of the U-Net's rate."""
        return [
            {"params": list(self.unet.parameters()), "lr": lr},
            {"params": list(self.text_encoder.parameters()), "lr": lr * text_lr_ratio},
        ]


class TextDenoising(Objective):
    """The task loss on latents and raw captions, for a student that is a `TextConditioned`.

    Args:
        process: the noise schedule.
        tokenizer: the text encoder's; captions are padded and cut to its `model_max_length`.
        caption_dropout: share of captions replaced by "" here. Readers drop captions themselves, so it is 0 unless the
            source does not; with the reader's seed both choose the same captions.
        num_strata: timesteps of S consecutive positions fall one into each S-th of 0 .. T-1, with one offset for all;
            1 draws them independently. Batches of S samples then cover all noise levels, which steadies the gradient.
        seed: of the draws.

    Raises:
        ValueError: a setting is outside its range.
    """

    def __init__(
        self, process: Process, tokenizer: Any, caption_dropout: float = 0.0, num_strata: int = 1, *, seed: int = 0
    ):
        super().__init__(process, seed)
        if not 0 <= caption_dropout <= 1:
            raise ValueError(f"caption_dropout must be in [0, 1], not {caption_dropout!r}.")
        if num_strata < 1:
            raise ValueError(f"num_strata must be at least 1, not {num_strata!r}.")
        self.tokenizer = tokenizer
        self.caption_dropout = caption_dropout
        self.num_strata = num_strata

    def draw(self, batch: ImageTextBatch, seed: int) -> Draws:
        """Draws t, stratified over positions, and eps ~ N(0, I) for each position of the batch.

        Raises:
            ValueError: the batch holds pixels.
        """
        latents = _latents(batch)
        positions, size = batch.positions.cpu(), self.num_strata
        offsets = randomness.uniform(seed, "timestep", positions // size)  # one for all strata of a cycle
        places = (offsets + (positions % size).double() / size) % 1
        timesteps = (places * self.process.num_timesteps).long()
        noise = randomness.normal(seed, "noise", positions, latents.shape[1:])
        return Draws(randomness.on_device(timesteps, latents), randomness.on_device(noise, latents))

    def losses(self, networks: Networks, batch: ImageTextBatch, draws: Draws) -> dict[str, Tensor]:
        """Returns total and task, scalars."""
        latents = _latents(batch)
        x_t = self.process.noisy(latents, draws.noise, draws.timesteps)
        output = networks.student(x_t, draws.timesteps, self.tokens(batch.captions, batch.positions).to(latents.device))
        target = self.process.target(latents, draws.noise, draws.timesteps)
        return report({"task": mean_squared_error(output, target)}, {"task": 1.0})

    def tokens(self, captions: list[str], positions: Tensor) -> Tensor:
        """Returns the captions' tokens, (B, L) int64 on the CPU, after caption dropout."""
        if self.caption_dropout:
            dropped = randomness.uniform(self.seed, "dropout", positions) < self.caption_dropout
            captions = ["" if drop else caption for caption, drop in zip(captions, dropped.tolist(), strict=True)]
        return self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


def _latents(batch: ImageTextBatch) -> Tensor:
    if batch.latents is None:
        raise ValueError("batch must hold latents for denoising, not pixels.")
    return batch.latents
