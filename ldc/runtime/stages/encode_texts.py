"""The stage that packs text: documents in, shards of token ids by the teacher's tokenizer out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from ldc.data.text.packing import encode_texts
from ldc.models.language import check_language_teacher, load_language_tokenizer
from ldc.runtime.chain import Context, Result
from ldc.runtime.checks import check_whole
from ldc.runtime.paths import cache_folder
from ldc.runtime.teachers import language_spec, teacher_identity
from ldc.runtime.texts import text_source


@dataclass(frozen=True)
class EncodeTexts:
    """Tokenises and packs `data`; conf/stages/encode_texts.yaml says what each setting means."""

    data: DictConfig
    teacher: Any
    loader: Mapping[str, Any] = field(default_factory=dict)

    kind = "encoded_texts"
    trains = False

    def inputs(self) -> list[str]:
        return []

    def identity(self) -> list[str]:
        return [teacher_identity(language_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:  # noqa: ARG002
        text_source(self.data).check()
        check_whole(self.loader, "num_workers", least=0)
        check_language_teacher(language_spec(self.teacher))

    def run(self, context: Context) -> Result:  # noqa: ARG002
        cache = cache_folder(self.loader["cache"])
        tokenizer = load_language_tokenizer(language_spec(self.teacher), cache)
        workers = self.loader["num_workers"]
        packed = encode_texts(text_source(self.data), tokenizer, cache / "tokens", cache=cache, num_workers=workers)
        facts = {name: packed.manifest[name] for name in ("source", "train", "held_out")}
        return Result(metrics=facts, outputs={"encoded": str(packed.folder)})
