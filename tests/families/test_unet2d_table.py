"""The plan as a table: one row a stage, in words and in parameters."""

import pytest
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from ldc.families import plan_rows, plan_table
from ldc.models import Teacher, build_student, meta_unet
from ldc.profiling import params
from ldc.pruning import BlockRemoval


@pytest.fixture(scope="module")
def teacher():
    return meta_unet(Teacher("sdxl", architecture="sdxl_base"))


def rows_of(unet, *settings):
    plan = BlockRemoval(*settings).plan(unet)
    student = build_student(unet, plan)
    return student, {row["stage"]: row for row in plan_rows(unet, student, plan)}


def words(row):
    return row["teacher"], row["student"], row["keeps"]


def test_a_row_says_what_a_stage_held_and_what_is_left(teacher):
    _, rows = rows_of(teacher, "small", 5)
    assert words(rows["down_blocks.0"]) == ("2 x resnet, down", "1 x resnet, down", "pair 0")
    assert words(rows["mid_block"]) == ("2 x resnet + 1 x 10-deep attention", "-", "nothing")
    deep, cut = "3 x (resnet + 10-deep attention), up", "2 x (resnet + 5-deep attention), up"
    assert words(rows["up_blocks.0"]) == (deep, cut, "pairs 0, 2")
    assert words(rows["up_blocks.2"]) == ("3 x resnet", "2 x resnet", "pairs 0, 2")


def test_a_stage_that_moves_up_keeps_the_teachers_name():
    unet = meta_unet(Teacher("sd14", architecture="sd14"))
    _, rows = rows_of(unet, "tiny")
    assert words(rows["down_blocks.2"]) == ("2 x (resnet + attention), down", "1 x (resnet + attention)", "pair 0")
    assert words(rows["up_blocks.0"]) == ("3 x resnet, up", "-", "nothing")
    assert words(rows["up_blocks.1"])[1] == "2 x (resnet + attention), up"


def test_a_middle_without_attention_says_so():
    unet = UNet2DConditionModel(block_out_channels=[8] * 4, norm_num_groups=4, mid_block_type="UNetMidBlock2D")
    _, rows = rows_of(unet, "base")
    assert words(rows["mid_block"]) == ("1 x resnet", "1 x resnet", "all")


def test_the_rows_add_up_to_the_total(teacher):
    student, rows = rows_of(teacher, "base")
    total = rows.pop("total")
    assert (total["teacher_params"], total["student_params"]) == (params(teacher), params(student))
    for key in ("teacher_params", "student_params"):
        assert sum(row[key] for row in rows.values()) == total[key]


def test_the_table_is_aligned_and_in_millions(teacher):
    _, rows = rows_of(teacher, "none", 4)
    lines = plan_table(list(rows.values())).splitlines()
    assert len(lines) == 1 + 3 + 1 + 3 + 2
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].split() == ["total", "2567.46", "1316.25", "51%"]
