"""The stage that encodes: image-text shards in, shards of cached latents and text states out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from omegaconf import DictConfig

from ldc.data.encoders import FrozenEncoders
from ldc.models import check_teacher, load_teacher
from ldc.runtime.chain import Context, Result
from ldc.runtime.devices import device_of
from ldc.runtime.encoding import encode_data
from ldc.runtime.readers import is_streaming
from ldc.runtime.requirements import check_tokenizer
from ldc.runtime.sources import image_source
from ldc.runtime.teachers import teacher_identity, teacher_spec

WITHOUT_CACHE = "add encoded=null '~stages.encode' to encode while training, without a cache"


@dataclass(frozen=True)
class Encode:
    """Encodes `data` by the teacher's frozen encoders; conf/stages/encode.yaml says what each setting means."""

    data: DictConfig
    teacher: Any
    text: bool
    flip: bool
    loader: Mapping[str, Any] = field(default_factory=dict)

    kind = "latents"
    trains = False

    def inputs(self) -> list[str]:
        return []

    def identity(self) -> list[str]:
        return [teacher_identity(teacher_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:
        for check in self.checks(cfg):
            check()

    def checks(self, cfg: DictConfig) -> list[Callable[[], Any]]:
        """Returns the parts of `check`, each of which can be called on its own."""
        spec = teacher_spec(self.teacher)
        words = [partial(check_tokenizer, spec, dry_run=cfg.dry_run)] if self.text else []
        return [partial(self._check_data, cfg), partial(check_teacher, spec), *words]

    def _check_data(self, cfg: DictConfig) -> None:
        source = image_source(self.data)
        if is_streaming(source):
            raise ValueError(
                f"data.source.reader must be indexed for a cache of latents, not streaming: {WITHOUT_CACHE}."
            )
        fits = [stage for stage in cfg.stages.values() if "encoded" in stage]
        if fits and all(stage.encoded is None for stage in fits):
            raise ValueError(
                f"encoded must name the stage that encodes, where there is one, not null: {WITHOUT_CACHE}."
            )
        source.check()

    def run(self, context: Context) -> Result:  # noqa: ARG002
        device = device_of(self.loader["device"])
        teacher = load_teacher(teacher_spec(self.teacher))
        text = (teacher.text_encoder.to(device), teacher.tokenizer) if self.text else (None, None)
        encoders = FrozenEncoders(teacher.vae.to(device), *text)
        del teacher  # its U-Net has no part in this
        return encode_data(self.data, encoders, self.loader, text=self.text, flip=self.flip)
