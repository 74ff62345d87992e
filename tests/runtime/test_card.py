from ldc.artifacts import Artifact
from ldc.runtime.card import write_card


def artifact(folder, **changes):
    settings = {"kind": "student", "id": "a" * 16, "parents": ["b" * 16], "weights": "average", "samples_seen": 9600}
    config = {
        "objective": {"_target_": "ldc.objectives.ConsistencyDistillation"},
        "teacher": {"path_or_id": "org/model"},
    }
    guidance = {"convention": "embedded", "default": 3.0, "range": (1.5, 5.0)}
    return Artifact(folder, **{**settings, "config": config, "guidance": guidance, **changes})


def test_a_few_step_students_card_states_the_trained_guidance_range(tmp_path):
    card = write_card(artifact(tmp_path), "student").read_text()
    assert "trained in [1.5, 5]" in card
    assert "num_inference_steps=4, guidance_scale=3" in card


def test_a_card_names_lineage_samples_and_objective(tmp_path):
    card = write_card(artifact(tmp_path), "student").read_text()
    for fact in ("a" * 16, "b" * 16, "9,600 samples", "ConsistencyDistillation", "org/model"):
        assert fact in card


def test_a_pruned_students_card_says_that_nothing_is_trained(tmp_path):
    guidance = {"convention": "cfg", "default": 7.5, "range": (1.0, 20.0)}
    card = write_card(artifact(tmp_path, weights="pruned", samples_seen=0, guidance=guidance), "student").read_text()
    assert "nothing is trained yet" in card
    assert "num_inference_steps=25" in card


def test_a_card_opens_with_what_the_hub_reads(tmp_path):
    lines = write_card(artifact(tmp_path), "student").read_text().splitlines()
    assert lines[0] == "---"
    assert lines[1] == "library_name: diffusers"
    assert lines[4] == "---"
