"""Encodes captions during training, where the cache holds latents alone (LAION size)."""

from typing import Any

import torch
from torch import Tensor

from ldc.data.batch import ImageTextBatch, LatentBatch
from ldc.models import LatentDiffusion, encode_text


class OnlineText:
    """Turns an ImageTextBatch with latents into a LatentBatch; the empty text is encoded once."""

    def __init__(self, teacher: LatentDiffusion):
        self.teacher = teacher
        self._empty: Tensor | None = None

    def to(self, device: torch.device) -> "OnlineText":
        self.teacher.text_encoder.to(device)
        self._empty = None
        return self

    def __call__(self, batch: ImageTextBatch) -> Any:
        if batch.latents is None:
            raise ValueError("the batch must hold cached latents to be trained on, not pixels.")
        if self._empty is None:
            self._empty = encode_text(self.teacher, [""])
        text = encode_text(self.teacher, batch.captions)
        return LatentBatch(batch.latents, text, self._empty, batch.positions, batch.keys)
