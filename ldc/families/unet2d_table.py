"""A plan as a table that a person can read: for each stage what it held, what is left of it, and what that weighs."""

from collections.abc import Sequence
from typing import Any

from ldc.families.unet2d import Stage, stages
from ldc.families.unet2d_depths import depths
from ldc.surgery import Plan

Row = dict[str, Any]

_WORDS = ("stage", "channels", "teacher", "student", "keeps")
_GONE = "-"
_REST = "in, out, embeddings"


def plan_rows(teacher: Any, student: Any, plan: Plan) -> list[Row]:
    """Returns a row a stage in the order of a forward pass, one for all that lies outside the stages, and the total.

    Each has "stage" (the teacher's name), "channels", "teacher" and "student" (what the stage holds), "keeps" (which of
    the teacher's pairs stay), "teacher_params" and "student_params".

    Args:
        teacher: the unedited U-Net, on any device.
        student: what `plan` made of it.
        plan: the plan.
    """
    rows = [_stage_row(teacher, student, plan, stage) for stage in stages(teacher, "down")]
    if getattr(teacher, "mid_block", None) is not None:
        rows.append(_row(teacher, student, plan, "mid_block", teacher.mid_block.resnets[0].out_channels))
    rows += [_stage_row(teacher, student, plan, stage) for stage in stages(teacher, "up")]
    total = {"teacher_params": _params(teacher), "student_params": _params(student)}
    rest = {key: count - sum(row[key] for row in rows) for key, count in total.items()}
    empty = {"channels": None, "teacher": "", "student": "", "keeps": ""}
    return [*rows, {"stage": _REST, **empty, **rest}, {"stage": "total", **empty, **total}]


def plan_table(rows: Sequence[Row]) -> str:
    """Returns the rows as aligned text; parameters in millions, and the share of them that is left."""
    head = [*_WORDS, "params (M)", "left (M)", "left"]
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    pad = [str.ljust, str.rjust, *[str.ljust] * 3, *[str.rjust] * 3]
    return "\n".join("  ".join(f(cell, w) for f, cell, w in zip(pad, line, widths, strict=True)) for line in lines)


def _cells(row: Row) -> list[str]:
    before, after = row["teacher_params"], row["student_params"]
    words = ["" if row[key] is None else str(row[key]) for key in _WORDS]
    return [*words, f"{before / 1e6:.2f}", f"{after / 1e6:.2f}", f"{after / before:.0%}" if before else ""]


def _stage_row(teacher: Any, student: Any, plan: Plan, stage: Stage) -> Row:
    row = _row(teacher, student, plan, stage.path, stage.channels)
    kept = plan.kept(f"{stage.path}.{stage.lists[-1]}", stage.pairs)
    if row["student"] != _GONE and len(kept) < stage.pairs:
        row["keeps"] = f"pair{'s' * (len(kept) > 1)} {', '.join(str(index) for index in kept)}"
    return row


def _row(teacher: Any, student: Any, plan: Plan, path: str, channels: int) -> Row:
    before = teacher.get_submodule(path)
    name = plan.rename(path)
    after = None if name is None else student.get_submodule(name)
    return {
        "stage": path,
        "channels": int(channels),
        "teacher": _contents(before),
        "student": _GONE if after is None else _contents(after),
        "keeps": "nothing" if after is None else "all",
        "teacher_params": _params(before),
        "student_params": 0 if after is None else _params(after),
    }


def _contents(block: Any) -> str:
    """Such as "2 x (resnet + 10-deep attention), down"; an attention of one transformer block is just an attention."""
    resnets = len(block.resnets)
    attentions = sum(attention is not None for attention in getattr(block, "attentions", ()))
    word = _attention(depths(block))
    if resnets == attentions:
        text = f"{resnets} x (resnet + {word})"
    else:
        text = f"{resnets} x resnet" + (f" + {attentions} x {word}" if attentions else "")
    samplers = [side for side in ("down", "up") if getattr(block, f"{side}samplers", None) is not None]
    return ", ".join([text, *samplers])


def _attention(found: Sequence[int]) -> str:
    if set(found) <= {1}:
        return "attention"
    least, most = min(found), max(found)
    return f"{least}-deep attention" if least == most else f"{least}- to {most}-deep attention"


def _params(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
