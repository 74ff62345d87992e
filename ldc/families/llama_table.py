"""What a plan makes of a language model as a table that a person can read: which blocks stay, and how wide each is."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ldc.families.llama import BLOCKS, blocks
from ldc.families.llama_width import widths
from ldc.surgery import Plan

Row = dict[str, Any]

_WIDTHS = ("heads", "kv_heads", "neurons")
_GONE = "-"


def block_rows(teacher: Any, student: Any, plan: Plan) -> list[Row]:
    """Returns a row a block of the teacher, in the order of a forward pass.

    Each has "block", "becomes" (its index in the student, None where it goes), "heads", "kv_heads" and "neurons" (what
    is left of them; absent where the blocks are of a kind that cannot be cut), "teacher_params" and "student_params".

    Args:
        teacher: the unedited model, on any device.
        student: what `plan` made of it.
        plan: the plan.
    """
    before, after = blocks(teacher), blocks(student)
    kept = plan.kept(BLOCKS, len(before))
    rows = []
    for index, block in enumerate(before):
        becomes = kept.index(index) if index in kept else None
        left = None if becomes is None else after[becomes]
        row: Row = {"block": index, "becomes": becomes, **_widths(block, left)}
        rows.append(row | {"teacher_params": _params(block), "student_params": 0 if left is None else _params(left)})
    return rows


def block_table(rows: Sequence[Row]) -> str:
    """Returns the rows as aligned text; neighbours that fare alike share a line."""
    names = [name for name in _WIDTHS if name in rows[0]]
    head = ["blocks", "become", *(name.replace("_", " ") for name in names), "params (M)", "left (M)"]
    lines = [head, *(_cells(list(run), names) for _, run in groupby(rows, key=lambda row: _fate(row, names)))]
    spans = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(cell.rjust(span) for cell, span in zip(line, spans, strict=True)) for line in lines)


def _fate(row: Row, names: Sequence[str]) -> tuple[Any, ...]:
    return (row["becomes"] is None, row["student_params"], row["teacher_params"], *(row[name] for name in names))


def _cells(run: Sequence[Row], names: Sequence[str]) -> list[str]:
    gone = run[0]["becomes"] is None
    widths_left = [_GONE if gone else str(run[0][name]) for name in names]
    params = [f"{sum(row[key] for row in run) / 1e6:.2f}" for key in ("teacher_params", "student_params")]
    return [_span(run, "block"), _GONE if gone else _span(run, "becomes"), *widths_left, *params]


def _span(run: Sequence[Row], key: str) -> str:
    first, last = run[0][key], run[-1][key]
    return str(first) if first == last else f"{first}-{last}"


def _widths(before: Any, left: Any) -> dict[str, int]:
    try:
        width = widths(before if left is None else left)
    except ValueError:
        return {}
    if left is None:
        return dict.fromkeys(_WIDTHS, 0)
    return {"heads": width.groups * width.group_heads, "kv_heads": width.groups, "neurons": width.neurons}


def _params(block: Any) -> int:
    return sum(parameter.numel() for parameter in block.parameters())
