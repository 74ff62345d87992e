"""The model card of a language student: what it is, what was removed, how it was trained, how it is loaded."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ldc.artifacts import Artifact
from ldc.runtime.card import FILE

KIND = "language_student"
_STOCK, _OF_A_PLAN = "model.safetensors", "student.safetensors"
_PERPLEXITY = "ppl "
_TEMPLATE = """---
library_name: transformers
pipeline_tag: text-generation
tags: [ldc, {tag}]
---

# {title}

A language model that `ldc` made of {base}: {made}.

```python
{loading}
```

| | |
|---|---|
{rows}

Licence: this model is derived from {base}, whose licence holds for it, too.
"""
_LOADING = """from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")"""
_LOADING_QUANTISED = f"# The package compressed-tensors must be installed.\n{_LOADING}"
_LOADING_ZERO_POINTS = """# The package compressed-tensors must be installed.
from transformers import AutoModelForCausalLM, AutoTokenizer, CompressedTensorsConfig
plain = CompressedTensorsConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER", dtype="auto", quantization_config=plain)
tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")"""
_TAGS = {"pruned": "pruned", "random": "pruned", "quantised": "quantized"}
_LOADING_A_PLAN = """# Blocks of unequal widths have no stock config.
from ldc.models.language import load_language_student
model, tokenizer, _ = load_language_student("THIS_FOLDER")"""


def write_language_card(artifact: Artifact, title: str, others: Sequence[Artifact] = ()) -> Path:
    """Writes `README.md` into a language student's folder; returns the path.

    Args:
        artifact: the student's.
        title: of the card.
        others: artifacts of the same run: those it was made from, and evaluations.
    """
    lineage = [artifact, *_ancestors(artifact, others)]
    text = _TEMPLATE.format(
        tag=_TAGS.get(artifact.weights or "", "retrained"),
        title=title,
        base=_base(lineage),
        made=_made(artifact),
        loading=_loading(artifact),
        rows="\n".join(f"| {name} | {value} |" for name, value in _facts(artifact, lineage, others).items()),
    )
    path = artifact.folder / FILE
    path.unlink(missing_ok=True)  # it may have a second name in the run that this one's was linked from
    path.write_text(text)
    return path


def _loading(artifact: Artifact) -> str:
    if (artifact.folder / _OF_A_PLAN).is_file():
        return _LOADING_A_PLAN
    if artifact.weights != "quantised":
        return _LOADING
    return _LOADING_QUANTISED if artifact.config.get("symmetric", True) else _LOADING_ZERO_POINTS


def _ancestors(artifact: Artifact, others: Iterable[Artifact]) -> list[Artifact]:
    """Returns the language students that this one was made from, the nearest first."""
    by_id = {other.id: other for other in others if other.kind == KIND}
    found = [by_id[parent] for parent in artifact.parents if parent in by_id]
    return [*found, *(older for parent in found for older in _ancestors(parent, others))]


def _base(lineage: Sequence[Artifact]) -> str:
    for artifact in lineage:
        teacher = artifact.config.get("teacher")
        if isinstance(teacher, Mapping) and teacher.get("path_or_id"):
            return f"`{teacher['path_or_id']}`"
    return "its parent"


def _made(artifact: Artifact) -> str:
    if artifact.weights == "pruned":
        return "parts of it were removed, nothing is trained yet"
    if artifact.weights == "random":
        return "the shape that is left of it, with random weights, nothing is trained yet"
    if artifact.weights == "quantised":
        return f"the weights of its blocks were quantised to {artifact.metrics.get('bits', 'few')} bits by GPTQ"
    objective = str((artifact.config.get("objective") or {}).get("_target_", "training")).rpartition(".")[2]
    return f"retrained by {objective}{_by_adapters(artifact)} on {artifact.samples_seen:,} samples"


def _by_adapters(artifact: Artifact) -> str:
    lora = artifact.config.get("lora")
    return f" with LoRA of rank {lora.get('rank')}, merged," if isinstance(lora, Mapping) else ""


def _facts(artifact: Artifact, lineage: Sequence[Artifact], others: Iterable[Artifact]) -> dict[str, Any]:
    def first(name: str) -> Any:
        return next((one.metrics[name] for one in lineage if one.metrics.get(name) is not None), None)

    params, parent, blocks = first("params"), first("parent_params"), first("removed_blocks")
    tokens, held_out = (artifact.metrics.get(name) for name in ("tokens", "held_out/perplexity"))
    facts = {
        "artifact": f"`{artifact.id}`",
        "made from": ", ".join(f"`{one}`" for one in artifact.parents) or None,
        "parameters": params and f"{params:,}" + (f" of {parent:,} ({1 - params / parent:.2%} less)" if parent else ""),
        "blocks removed": blocks and ", ".join(map(str, blocks)),
        "calibration set": first("calibration") and f"`{first('calibration')}`",
        "plan": artifact.plan_fingerprint and f"`{artifact.plan_fingerprint}` (plan.json)",
        "weights": artifact.weights,
        "bits a quantised weight": first("bits_per_weight") and f"{first('bits_per_weight'):.2f}, scales included",
        "quantised before": first("parent_quantised"),
        "samples seen": f"{artifact.samples_seen:,}",
        "tokens seen": tokens and f"{tokens:,}",
        "perplexity of held-out text": held_out and f"{held_out:.2f}",
        **_perplexities(artifact, others),
        "versions": ", ".join(f"{name} {version}" for name, version in artifact.versions.items()),
    }
    return {name: value for name, value in facts.items() if value}


def _perplexities(artifact: Artifact, others: Iterable[Artifact]) -> dict[str, str]:
    """Returns what evaluations of the same run have found of this stage, as {"perplexity, TEXT": value}."""
    found = {}
    for other in others:
        settings = other.config.get("settings") or {}
        for row in other.metrics.get("table") or []:
            setting = settings.get(row.get("model")) if isinstance(settings, Mapping) else None
            if isinstance(setting, Mapping) and setting.get("model") == artifact.folder.name:
                figures = {key: value for key, value in row.items() if key.startswith(_PERPLEXITY)}
                found |= {key.replace(_PERPLEXITY, "perplexity, ", 1): f"{value:.2f}" for key, value in figures.items()}
    return found
