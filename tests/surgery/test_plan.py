import json

import pytest

from ldc.surgery import Detach, Keep, Plan, Skip

EDITS = (
    Keep("down_blocks", (0, 1)),
    Keep("down_blocks.1.resnets", (0, 2)),
    Detach("mid_block"),
    Skip("up_blocks.0", "zero"),
)


def test_the_order_of_edits_does_not_matter():
    forward, backward = Plan(EDITS), Plan(reversed(EDITS))
    assert forward == backward
    assert forward.fingerprint == backward.fingerprint


def test_a_plan_with_another_edit_has_another_fingerprint():
    assert Plan(EDITS).fingerprint != Plan(EDITS[:-1]).fingerprint


def test_a_plan_survives_json():
    plan = Plan(EDITS)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_survives_its_file(tmp_path):
    Plan(EDITS).save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == Plan(EDITS)


def test_a_file_that_is_not_json_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ValueError, match="must be a plan in JSON"):
        Plan.load(tmp_path / "plan.json")


def test_an_unknown_edit_is_refused_by_name():
    content = {"schema": 1, "edits": [{"edit": "melt", "path": "mid_block"}]}
    with pytest.raises(ValueError, match=r"^edit must be one of keep, detach, skip, slice, not 'melt'\.$"):
        Plan.from_json(content)


def test_an_edit_with_a_field_of_another_kind_is_refused():
    content = {"schema": 1, "edits": [{"edit": "detach", "path": "mid_block", "indices": [0]}]}
    with pytest.raises(ValueError, match="edit detach must have the fields path, not path, indices"):
        Plan.from_json(content)


def test_another_schema_is_refused():
    with pytest.raises(ValueError, match="schema of a plan must be 1, not 2"):
        Plan.from_json({"schema": 2, "edits": []})


def test_two_edits_of_one_path_are_refused():
    with pytest.raises(ValueError, match="at most one edit a path"):
        Plan([Keep("blocks", (0,)), Keep("blocks", (1,))])


@pytest.mark.parametrize("indices", [(), (1, 0), (0, 0), (-1,)])
def test_kept_indices_must_ascend_from_zero(indices):
    with pytest.raises(ValueError, match="must be ascending, distinct and at least one"):
        Keep("blocks", indices)


def test_a_skip_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="must be identity or zero, not 'half'"):
        Skip("mid_block", "half")


@pytest.mark.parametrize(
    ("name", "renamed"),
    [
        ("conv_in.weight", "conv_in.weight"),
        ("down_blocks.1.resnets.2.conv1.weight", "down_blocks.1.resnets.1.conv1.weight"),
        ("down_blocks.1.resnets.1.conv1.weight", None),
        ("down_blocks.2.resnets.0.conv1.weight", None),
        ("mid_block.resnets.0.conv1.weight", None),
        ("mid_block_norm.weight", "mid_block_norm.weight"),
        ("up_blocks.0", "up_blocks.0"),
        ("up_blocks.0.resnets.0.conv1.weight", None),
        ("up_blocks.10.resnets.0.conv1.weight", "up_blocks.10.resnets.0.conv1.weight"),
    ],
)
def test_names_are_those_of_the_edited_model(name, renamed):
    assert Plan(EDITS).rename(name) == renamed
