"""The frozen encoders of a latent diffusion model, as encoding needs them: pixels to moments, captions to states.

Legend: B batch, C latent channels, S pixel size, h x w latent size, L tokens, D text width.
"""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor


class FrozenEncoders:
    """A VAE and, where text is encoded too, a text encoder with its tokenizer; all in evaluation mode.

    `fingerprint` hashes weights, configs, the tokenizer's vocabulary and how captions are tokenised: what is encoded
    by encoders of another fingerprint is another data set.

    Args:
        vae: diffusers' AutoencoderKL, whose config gives the scaling factor.
        text_encoder: transformers' CLIPTextModel, or None to encode images only.
        tokenizer: its tokenizer.

    Raises:
        ValueError: a text encoder lacks its tokenizer, or the VAE shifts its latents, which batches do not provide for.
    """

    def __init__(self, vae: Any, text_encoder: Any = None, tokenizer: Any = None):
        if text_encoder is not None and tokenizer is None:
            raise ValueError("tokenizer must be given with a text encoder, not None.")
        if getattr(vae.config, "shift_factor", None):
            raise ValueError(f"vae must have no shift_factor, not {vae.config.shift_factor!r}.")
        self.vae = vae.eval()
        self.text_encoder = None if text_encoder is None else text_encoder.eval()
        self.tokenizer = tokenizer
        self.scaling_factor = float(vae.config.scaling_factor)
        self.fingerprint = self._fingerprint()

    @torch.no_grad()
    def moments(self, pixels: Tensor) -> Tensor:
        """Returns the posterior's mean and log variance, (B, 2 C, h, w), of pixels (B, 3, S, S) in [-1, 1]."""
        weight = next(self.vae.parameters())
        return self.vae.encode(pixels.to(weight.device, weight.dtype)).latent_dist.parameters

    @torch.no_grad()
    def text(self, captions: list[str]) -> Tensor:
        """Returns the text encoder's last hidden states, (B, L, D), of captions padded and truncated to L tokens."""
        if self.text_encoder is None:
            raise ValueError("captions cannot be encoded: these encoders have no text encoder.")
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text_encoder(tokens.to(next(self.text_encoder.parameters()).device))[0]

    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for module in (self.vae, self.text_encoder):
            if module is not None:
                _update(digest, module)
        if self.tokenizer is not None:
            vocabulary = sorted(self.tokenizer.get_vocab().items(), key=lambda entry: entry[1])
            # Merges decide how a text is split; the vocabulary alone does not.
            probe = self.tokenizer("a photo of two Red apples, naïve style (1/2)").input_ids
            digest.update(json.dumps([vocabulary, self.tokenizer.model_max_length, probe]).encode())
        return digest.hexdigest()


def _update(digest: Any, module: Any) -> None:
    config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
    # Names that start with an underscore say where the weights were read from, not what they compute.
    kept = {
        name: value for name, value in config.items() if not name.startswith("_") and name != "transformers_version"
    }
    digest.update(json.dumps(kept, sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
