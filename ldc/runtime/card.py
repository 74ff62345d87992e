"""The model card of a student: what it is, what it was made from, and how it wants to be guided."""

from pathlib import Path
from typing import Any

from ldc.artifacts import Artifact

FILE = "README.md"

_TEMPLATE = """---
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion, ldc, {tag}]
---

# {title}

A Stable Diffusion pipeline whose U-Net was made by `ldc`: {made}. It loads with stock diffusers:

```python
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained("THIS_FOLDER")
pipe("{prompt}", num_inference_steps={steps}, guidance_scale={default:g}).images[0]
```

| | |
|---|---|
{rows}

Guidance: {guidance}
"""

_GUIDANCE = {
    "cfg": "classifier-free; each step takes two passes. `guidance_scale` {default:g} is the default.",
    "embedded": "embedded in the U-Net, one pass a step. `guidance_scale` (LCM's w + 1) was trained in "
    "[{low:g}, {high:g}]; the default is {default:g}. Negative prompts have no effect.",
    "none": "baked in at training, one pass a step: use `guidance_scale` 1.",
}


def write_card(artifact: Artifact, title: str, prompt: str = "a photograph of an astronaut riding a horse") -> Path:
    """Writes `README.md` into a student's folder from its artifact; returns the path."""
    guidance = dict(artifact.guidance or {"convention": "cfg", "default": 7.5, "range": (1.0, 20.0)})
    low, high = guidance["range"]
    few_step = guidance["convention"] != "cfg"
    text = _TEMPLATE.format(
        tag="few-step" if few_step else "pruned",
        title=title,
        made=_made(artifact),
        prompt=prompt.replace('"', "'"),
        steps=4 if few_step else 25,
        default=guidance["default"],
        rows="\n".join(f"| {name} | {value} |" for name, value in _facts(artifact).items()),
        guidance=_GUIDANCE[guidance["convention"]].format(default=guidance["default"], low=low, high=high),
    )
    path = artifact.folder / FILE
    path.write_text(text)
    return path


def _made(artifact: Artifact) -> str:
    if artifact.weights == "pruned":
        return "blocks of the teacher were removed, nothing is trained yet"
    if artifact.weights == "random":
        return "the shape that is left of the teacher, with random weights, nothing is trained yet"
    objective = str(artifact.config.get("objective", {}).get("_target_", "training")).rpartition(".")[2]
    return f"trained by {objective} on {artifact.samples_seen:,} samples"


def _facts(artifact: Artifact) -> dict[str, Any]:
    teacher = artifact.config.get("teacher") or {}
    facts = {
        "artifact": f"`{artifact.id}`",
        "made from": ", ".join(f"`{parent}`" for parent in artifact.parents) or None,
        "teacher": teacher.get("path_or_id") if isinstance(teacher, dict) else None,
        "plan": artifact.plan_fingerprint and f"`{artifact.plan_fingerprint}` (plan.json)",
        "weights": artifact.weights,
        "samples seen": f"{artifact.samples_seen:,}",
        "versions": ", ".join(f"{name} {version}" for name, version in artifact.versions.items()),
    }
    return {name: value for name, value in facts.items() if value}
