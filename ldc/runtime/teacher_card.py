"""The model card of a teacher that the project made: what each part was trained on, and what it has never seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldc.models import Guidance

_TEMPLATE = """---
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion, ldc, teacher]
---

# {title}

A small text-to-image latent diffusion model, made by `python -m ldc.train +experiment={title}`. It is a stock
Stable Diffusion pipeline in half precision:

```python
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained("THIS_FOLDER")
pipe("{prompt}", num_inference_steps={steps}, guidance_scale={default:g}).images[0]
```

![samples](samples.png)

{columns} Each row starts from noise of its own; {steps} steps at guidance {default:g}.

| part | parameters | trained on | samples seen | measured |
|---|---|---|---|---|
{rows}

{held_out}

**Guidance.** Classifier-free, two passes a step; the default `guidance_scale` is {default:g}, and few-step students are
trained for [{low:g}, {high:g}]. The denoiser predicts {prediction}; sampling is by DDIM with trailing timesteps.
{notice}"""


@dataclass(frozen=True)
class PartFacts:
    """What the card says of one part. `figures`: {name: value} of what was measured."""

    name: str
    params: int
    trained_on: str
    samples_seen: int
    figures: Mapping[str, Any]


def teacher_card(
    title: str,
    parts: Sequence[PartFacts],
    *,
    held_out: Mapping[str, int],
    guidance: Guidance,
    steps: int,
    prompts: Sequence[str],
    num_held_out_prompts: int,
    prediction_type: str,
    notice: str | None,
) -> str:
    """Returns the card's text.

    Args:
        title: the experiment's name.
        parts: a table row each.
        held_out: {kind of held-out sample: count}.
        guidance: of the published model.
        steps: sampling steps of the sheet.
        prompts: the sheet's columns, left to right.
        num_held_out_prompts: how many of them, from the right, are captions of held-out samples.
        prediction_type: diffusers' name of what the U-Net predicts.
        notice: file name of the data's licences beside the card.
    """
    low, high = guidance.range
    return _TEMPLATE.format(
        title=title,
        prompt=prompts[0].replace('"', "'"),
        columns=_columns(prompts, num_held_out_prompts),
        steps=steps,
        default=guidance.default,
        low=low,
        high=high,
        rows="\n".join(map(_row, parts)),
        held_out=_held_out(held_out),
        prediction=prediction_type.replace("_prediction", ""),
        notice=f"\n**Data.** Origin and licences of the training images: [{notice}]({notice}).\n" if notice else "",
    )


def _row(part: PartFacts) -> str:
    figures = ", ".join(f"{name}: {value:.4g}" for name, value in part.figures.items())
    return f"| {part.name} | {part.params:,} | {part.trained_on} | {part.samples_seen:,} | {figures} |"


def _columns(prompts: Sequence[str], num_held_out: int) -> str:
    shown = "; ".join(f'"{prompt}"' for prompt in prompts)
    never = f" The last {num_held_out} are captions of held-out images." if num_held_out else ""
    return f"Columns: {shown}.{never}"


def _held_out(counts: Mapping[str, int]) -> str:
    if not counts:
        return "**Held out.** Nothing: every image of the data was trained on."
    listed = ", ".join(f"{count} of kind `{kind}`" for kind, count in counts.items())
    return (
        f"**Held out.** {sum(counts.values())} images of the denoiser's data ({listed}) were not trained on.\n"
        "Their captions are among the texts that the text encoder was pretrained on."
    )
