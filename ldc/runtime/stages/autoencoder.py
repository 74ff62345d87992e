"""The stage that trains a teacher's autoencoder: images in, an AutoencoderKL with whitened latents out."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from ldc.data.prepare import Prepared
from ldc.data.sharded import ShardedSamples
from ldc.data.transforms import decode, to_pixels
from ldc.models.whitening import whiten
from ldc.objectives.reconstruction import Autoencoding
from ldc.runtime.chain import Context, Result
from ldc.runtime.fitting import Fitting, published, which_weights
from ldc.runtime.parts import VAE, build, downscale, save_part
from ldc.runtime.ranks import is_rank_zero
from ldc.runtime.readers import pixel_reader
from ldc.runtime.sources import check_indexed, prepared


@dataclass(frozen=True, kw_only=True)
class Autoencoder(Fitting):
    """Trains and whitens an autoencoder; conf/stages/autoencoder.yaml says what each setting means."""

    data: DictConfig
    architecture: Mapping[str, Any]
    objective: DictConfig
    flip: bool

    kind = "autoencoder"
    trains = True

    def inputs(self) -> list[str]:
        return []

    def identity(self) -> list[str]:
        return []

    def check(self, cfg: DictConfig) -> None:
        check_indexed(self.data)
        self.check_settings(cfg)
        with torch.device("meta"):
            self._build()
        factor = downscale(self.architecture)
        if self.data.size % factor:
            raise ValueError(f"data.size must be divisible by the autoencoder's factor {factor}, not {self.data.size}.")

    def run(self, context: Context) -> Result:
        torch.manual_seed(self.seed)  # initial weights; what concerns samples has draws of its own
        vae: Any = self._build()
        student = Autoencoding(vae)
        make_objective = instantiate(self.objective, _partial_=True)
        objective = make_objective(
            latent_channels=vae.config.latent_channels, downscale=downscale(self.architecture), seed=self.seed
        )
        cache = self.loader["cache"]
        reading = {"batch_size": self.shares.micro_batch_size, "seed": self.seed, "num_workers": self.num_workers}
        pixels = pixel_reader(self.data, {"flip": self.flip}, cache, **reading)
        result = self.fit(context, self.module(objective, student, encode=unchanged), pixels)
        if not is_rank_zero():
            return Result()  # rank zero publishes
        data = prepared(self.data, cache)
        samples = data.samples()
        with published(result, student) as trained:
            vae = trained.vae.cpu().eval()
            whiten(vae, self._images(samples))
            save_part(vae, context.folder / VAE)
            measured = self._held_out_psnr(vae, data)
        metrics = {"steps": result.steps, "images": len(samples), **result.metrics, **measured}
        return Result(samples_seen=result.samples_seen, weights=which_weights(result), metrics=metrics)

    def _build(self) -> AutoencoderKL:
        return build(AutoencoderKL, self.architecture, sample_size=self.data.size)

    def _images(self, samples: ShardedSamples) -> Iterator[Tensor]:
        """Yields all images in order, (B, 3, S, S)."""
        size = self.shares.micro_batch_size
        for start in range(0, len(samples), size):
            numbers = range(start, min(start + size, len(samples)))
            images = [decode(samples.sample(number)["image"]) for number in numbers]
            yield torch.stack([to_pixels(image, self.data.size) for image in images])

    def _held_out_psnr(self, vae: Any, data: Prepared) -> dict[str, float]:
        """Returns {"held_out/psnr": mean over the images in dB}, nothing where no image is held out."""
        values = [value for split in data.held_out for x in self._images(data.samples(split)) for value in psnr(vae, x)]
        return {"held_out/psnr": sum(values) / len(values)} if values else {}


@torch.no_grad()
def psnr(vae: Any, pixels: Tensor) -> list[float]:
    """Returns -10 log10(mean squared error) of each image in dB, pixels from 0 to 1, decoded from the mean."""
    made = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    errors = ((made - pixels) / 2).square().mean((1, 2, 3)).clamp(min=1e-10)
    return [-10 * math.log10(error) for error in errors.tolist()]


def unchanged(batch: Any) -> Any:
    """Returns the batch: the objective takes it as the reader makes it."""
    return batch
