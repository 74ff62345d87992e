"""The stage that makes a teacher's tokenizer and pretrains its text encoder, both from captions alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from ldc.data.builders.emoji_texts import emoji_texts
from ldc.data.builders.tokenizer import build_tokenizer
from ldc.data.caption_module import CaptionStatesDataModule
from ldc.data.reference import find_reference, reference_identity, unpack_reference
from ldc.objectives import CaptionStates, Networks
from ldc.objectives.caption_states import StateRegressor
from ldc.runtime.chain import Context, Result
from ldc.runtime.fitting import Fitting, published, which_weights
from ldc.runtime.parts import TEXT_ENCODER, TOKENIZER, plain
from ldc.runtime.paths import cache_folder
from ldc.runtime.ranks import is_rank_zero
from ldc.runtime.sources import check_indexed, prepared


class Texts(NamedTuple):
    """What tokenizer and text encoder are made from."""

    vocabulary: list[str]  # the merges are learned on these
    training: list[str]


@dataclass(frozen=True, kw_only=True)
class TextEncoder(Fitting):
    """Regresses a reference encoder's states; conf/stages/text_encoder.yaml says what each setting means."""

    data: DictConfig
    reference: str | None
    architecture: Mapping[str, Any]
    objective: DictConfig
    num_words: int
    num_held_out: int

    kind = "text_encoder"
    trains = True

    def inputs(self) -> list[str]:
        return []

    def identity(self) -> list[str]:
        return [reference_identity(find_reference(self.reference))]

    def check(self, cfg: DictConfig) -> None:
        check_indexed(self.data)
        self.check_settings(cfg)
        find_reference(self.reference)

    def run(self, context: Context) -> Result:
        torch.manual_seed(self.seed)  # initial weights; what concerns samples has draws of its own
        texts = self._texts()
        length, size = self.architecture["max_position_embeddings"], self.architecture["vocab_size"]
        tokenizer = build_tokenizer(texts.vocabulary, size, length)
        data = CaptionStatesDataModule(
            texts.training,
            tokenizer,
            unpack_reference(find_reference(self.reference), cache_folder(self.loader["cache"])),
            self.shares.micro_batch_size,
            self.seed,
            num_words=self.num_words,
            num_held_out=self.num_held_out,
            num_workers=self.num_workers,
        )
        student = StateRegressor(self._build(tokenizer), data.dataset.reference_width)
        objective: CaptionStates = instantiate(self.objective, _partial_=True)(seed=self.seed)
        result = self.fit(context, self.module(objective, student), data)
        if not is_rank_zero():
            return Result()  # rank zero publishes
        with published(result, student.cpu()) as trained:
            trained.eval().text_encoder.save_pretrained(context.folder / TEXT_ENCODER, safe_serialization=True)
            held_out = self._held_out_error(objective, trained, data)
        tokenizer.save_pretrained(context.folder / TOKENIZER)
        metrics = {"steps": result.steps, "texts": len(texts.training), **result.metrics, **held_out}
        return Result(samples_seen=result.samples_seen, weights=which_weights(result), metrics=metrics)

    def _texts(self) -> Texts:
        """Returns the captions of every split: held-out images stay unseen, but their captions are texts to know."""
        data = prepared(self.data, self.loader["cache"])
        records = [record for split in ("train", *data.held_out) for record in data.samples(split).records()]
        captions = sorted({caption for record in records for caption in record["captions"]})
        concepts, styles = (sorted({r[name] for r in records if name in r}) for name in ("concept", "style"))
        training = emoji_texts(captions, concepts, styles, self.seed) if concepts and styles else captions
        return Texts([*concepts, *captions], training)

    def _build(self, tokenizer: Any) -> CLIPTextModel:
        specials = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        return CLIPTextModel(CLIPTextConfig(**specials, **plain(self.architecture)))

    @torch.no_grad()
    def _held_out_error(self, objective: CaptionStates, student: StateRegressor, data: Any) -> dict[str, float]:
        if not self.num_held_out:
            return {}
        losses = objective(Networks(student), data.dataset.held_out())
        return {"held_out/states": losses["states"].item()}
