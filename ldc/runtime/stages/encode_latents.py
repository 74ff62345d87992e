"""The stage that encodes images by an autoencoder made earlier in the chain; captions stay text, to be trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from ldc.data.encoders import FrozenEncoders
from ldc.runtime.chain import Context, Result
from ldc.runtime.encoding import encode_data
from ldc.runtime.parts import load_autoencoder
from ldc.runtime.sources import check_indexed


@dataclass(frozen=True)
class EncodeLatents:
    """Encodes `data`; conf/stages/encode_latents.yaml says what each setting means."""

    data: DictConfig
    autoencoder: str
    flip: bool
    loader: Mapping[str, Any] = field(default_factory=dict)

    kind = "latents"
    trains = False

    def inputs(self) -> list[str]:
        return [self.autoencoder]

    def identity(self) -> list[str]:
        return []

    def check(self, cfg: DictConfig) -> None:  # noqa: ARG002
        check_indexed(self.data)

    def run(self, context: Context) -> Result:
        vae = load_autoencoder(context.inputs[self.autoencoder].folder)
        return encode_data(self.data, FrozenEncoders(vae), self.loader, text=False, flip=self.flip)
