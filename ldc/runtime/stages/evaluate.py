"""The stage that judges: every setting on the same prompts and noise, one table, one picture."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from ldc.evaluation import EvaluationSet, cost, evaluate
from ldc.evaluation.evaluate import real_features
from ldc.evaluation.features import efficientnet_lite0
from ldc.evaluation.per_image import PerImage
from ldc.evaluation.pictures import comparison
from ldc.evaluation.tables import compact_table, markdown_table, save_table, save_trade_off
from ldc.models import LatentDiffusion, check_teacher, load_student, load_teacher
from ldc.models.generate import embed, render
from ldc.runtime.chain import Context, Result
from ldc.runtime.devices import device_of, move
from ldc.runtime.evaluation import evaluation_set, feature_cache
from ldc.runtime.sources import check_indexed
from ldc.runtime.teachers import teacher_identity, teacher_spec

log = logging.getLogger(__name__)
TEACHER = "teacher"
SETTING = {"model", "steps", "guidance"}
MIN_IMAGES = 4


@dataclass(frozen=True)
class Evaluate:
    """Measures `settings` {label: {model, steps, guidance}}; conf/stages/evaluate.yaml says what each one means."""

    data: DictConfig
    teacher: Any
    settings: Mapping[str, Mapping[str, Any]]
    picture: Sequence[str]
    num_images: int
    seed: int
    keep_features: bool = False
    loader: Mapping[str, Any] = field(default_factory=dict)

    kind = "evaluation"
    trains = False

    def inputs(self) -> list[str]:
        return list(dict.fromkeys(s["model"] for s in self.settings.values() if s["model"] != TEACHER))

    def identity(self) -> list[str]:
        return [teacher_identity(teacher_spec(self.teacher))]

    def check(self, cfg: DictConfig) -> None:  # noqa: ARG002
        check_indexed(self.data)
        check_teacher(teacher_spec(self.teacher))
        if self.num_images < MIN_IMAGES:
            raise ValueError(f"num_images must be at least {MIN_IMAGES}, not {self.num_images}.")
        for label, setting in self.settings.items():
            if set(setting) - SETTING or not {"model", "steps"} <= set(setting):
                raise ValueError(
                    f"Setting {label!r} must have model, steps and perhaps guidance, not {', '.join(setting)}."
                )
            if not isinstance(setting["steps"], int) or setting["steps"] < 1:
                raise ValueError(f"steps of {label!r} must be a whole number from 1, not {setting['steps']!r}.")
        unknown = [label for label in self.picture if label not in self.settings]
        if unknown:
            raise ValueError(f"picture must name settings ({', '.join(self.settings)}), not {unknown[0]!r}.")

    def run(self, context: Context) -> Result:
        device = device_of(self.loader["device"])
        real = evaluation_set(self.data, self.loader["cache"])
        models = {TEACHER: move(load_teacher(teacher_spec(self.teacher)), device)}
        models |= {name: move(load_student(artifact.folder), device) for name, artifact in context.inputs.items()}
        captions = [real.cells[place].caption for place in real.choose(self.num_images)]
        prompts = list(self.data.prompts or captions[:8])
        text = embed(models[TEACHER], [*captions, *prompts])  # the students' text encoder is the teacher's
        rows, features = [], {}
        for label, setting in self.settings.items():
            log.info("Evaluating: %s", label)
            row, features[label] = self._row(label, setting, models[setting["model"]], real, text)
            rows.append(row)
        pictures = [(label, self._pictures(self.settings[label], models, prompts, text)) for label in self.picture]
        self._write(context, rows, pictures, prompts)
        if self.keep_features:
            self._keep(context, features, real, rows[0]["stamp"])
        return Result(metrics={"table": rows, **self._flat(rows)})

    def _row(
        self,
        label: str,
        setting: Mapping[str, Any],
        model: LatentDiffusion,
        real: EvaluationSet,
        text: Mapping[str, Tensor],
    ) -> tuple[dict[str, Any], Tensor]:
        sampling = {"steps": setting["steps"], "guidance_scale": setting.get("guidance")}
        result = evaluate(
            model,
            real,
            **sampling,
            seed=self.seed,
            n=self.num_images,
            batch_size=self.loader["batch_size"],
            cache=feature_cache(self.loader["cache"]),
            text=text,
        )
        guidance = model.guidance.default if setting.get("guidance") is None else setting["guidance"]
        figures = {**cost(model, **sampling), "guidance": guidance, **result["metrics"], "stamp": result["stamp"]}
        return {"model": label, **figures}, result["features"]

    def _keep(
        self, context: Context, features: Mapping[str, Tensor], real: EvaluationSet, stamp: Mapping[str, Any]
    ) -> None:
        gallery = real_features(real, efficientnet_lite0(), feature_cache(self.loader["cache"]))
        PerImage.of(features, real.choose(self.num_images), real, gallery, stamp).save(context.folder)

    def _pictures(
        self,
        setting: Mapping[str, Any],
        models: Mapping[str, LatentDiffusion],
        prompts: list[str],
        text: Mapping[str, Tensor],
    ) -> Tensor:
        model = models[setting["model"]]
        return render(
            model, prompts, steps=setting["steps"], guidance_scale=setting.get("guidance"), seed=self.seed, text=text
        )

    def _write(
        self, context: Context, rows: list[dict[str, Any]], pictures: list[tuple[str, Tensor]], prompts: list[str]
    ) -> None:
        samples = context.folder.parent / "samples"  # the run's picture, not the stage's alone
        samples.mkdir(exist_ok=True)
        comparison(pictures, prompts).save(samples / "comparison.png")
        figures = [{key: value for key, value in row.items() if key != "stamp"} for row in rows]
        (context.folder / "table.json").write_text(json.dumps(rows, indent=2))
        (context.folder / "table.md").write_text(markdown_table(figures))
        save_table(figures, samples / "table.png")
        save_trade_off(figures, samples / "trade-off.png")
        log.info(
            "\n%s\n\nAll figures: %s\nPicture: %s",
            compact_table(rows),
            context.folder / "table.md",
            samples / "comparison.png",
        )

    def _flat(self, rows: list[dict[str, Any]]) -> dict[str, float]:
        """Returns {"<label>/<metric>": value}, so that a sweep can name one."""
        return {
            f"{row['model']}/{key}": value
            for row in rows
            for key, value in row.items()
            if isinstance(value, int | float)
        }
