"""The model card of a language student: what it is, what was removed, how it was trained, how it is loaded."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ldc.artifacts import Artifact
from ldc.runtime.card import FILE
from ldc.runtime.language_origin import lineage, origin_of

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
    line = lineage(artifact, others)
    base = origin_of(line).base
    text = _TEMPLATE.format(
        tag=_TAGS.get(artifact.weights or "", "retrained"),
        title=title,
        base="its parent" if base is None else f"`{base}`",
        made=_made(artifact),
        loading=_loading(artifact),
        rows="\n".join(f"| {name} | {value} |" for name, value in _facts(artifact, line, others).items()),
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


def _facts(artifact: Artifact, line: Sequence[Artifact], others: Iterable[Artifact]) -> dict[str, Any]:
    def first(name: str) -> Any:
        return next((one.metrics[name] for one in line if one.metrics.get(name) is not None), None)

    calibration = next((one.metrics["calibration"] for one in line if "calibration" in one.metrics), None)
    params, parent, blocks = first("params"), first("parent_params"), first("removed_blocks")
    own = ("tokens", "held_out/perplexity", "bits_per_weight")
    tokens, held_out, bits = (artifact.metrics.get(name) for name in own)
    facts = {
        "artifact": f"`{artifact.id}`",
        "made from": ", ".join(f"`{one}`" for one in artifact.parents) or None,
        "parent": _parent(artifact),
        "parameters": params and f"{params:,}" + (f" of {parent:,} ({1 - params / parent:.2%} less)" if parent else ""),
        **_chosen_by(line),
        "blocks removed": blocks and ", ".join(map(str, blocks)),
        "calibration set": calibration and f"`{calibration}`",
        "plan": artifact.plan_fingerprint and f"`{artifact.plan_fingerprint}` (plan.json)",
        "weights": artifact.weights,
        "bits a quantised weight": bits and f"{bits:.2f}, scales included",
        "quantised before": origin_of(line).quantised,
        "samples seen": f"{artifact.samples_seen:,}",
        "tokens seen": tokens and f"{tokens:,}",
        "perplexity of held-out text": held_out and f"{held_out:.2f}",
        **_perplexities(artifact, others),
        "versions": ", ".join(f"{name} {version}" for name, version in artifact.versions.items()),
    }
    return {name: value for name, value in facts.items() if value}


def _parent(artifact: Artifact) -> str | None:
    """Returns the model that a command was given, where it is not the one that the card's first line names."""
    parent = artifact.metrics.get("parent")
    return f"`{parent}`" if parent != artifact.metrics.get("origin") else None


def _chosen_by(line: Sequence[Artifact]) -> dict[str, Any]:
    """Returns by what was chosen what the last pruning took away, and how much was to go."""
    facts = next((one.metrics for one in line if "budget" in one.metrics), None)
    if facts is None:
        return {}
    budget = ", ".join(f"{name}={value}" for name, value in facts["budget"].items())
    if "criterion" not in facts:
        return {"method": facts["method"], "budget": budget}
    kept = f", the first {facts['protect_first']} blocks and the last {facts['protect_last']} not among them"
    again = ", scored again after each block" if facts["iterative"] else ""
    return {"criterion": f"{facts['criterion']}{kept}{again}", "budget": budget}


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
