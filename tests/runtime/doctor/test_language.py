"""The doctor on language models: estimates of their fits, from configs alone."""

import pytest
from omegaconf import OmegaConf

from ldc.runtime.composing import train_config
from ldc.runtime.doctor.estimates import Assumed, estimate, plan_fit
from ldc.runtime.doctor.examination import examine
from ldc.runtime.doctor.rehearsals import rehearse_fits

ROOMY = Assumed("roomy", tflops=100.0, memory_gb=80.0, utilisation=0.5, reserve=0.1)


@pytest.fixture
def planned(llama_folder, text_file):
    """Plans the retraining of an experiment with the tiny Llama."""

    def plan(experiment, *arguments):
        where = [f"teacher={llama_folder}", "data=text_files", f"data.path={text_file}"]
        cfg = train_config([f"+experiment={experiment}", *where, "pruner.num_removed=3", *arguments])
        OmegaConf.resolve(cfg)
        return plan_fit(cfg, "retrain")[0]

    return plan


def test_a_retraining_of_all_weights_is_estimated_by_the_students_parameters(planned):
    row = estimate(planned("shortened_llama_cpt", "trainer.precision=32-true"), None, ROOMY).row
    assert row["params"] == 379_584
    assert row["memory"]["weights"] * 2**30 == 4 * 379_584
    assert row["memory"]["moments"] * 2**30 == pytest.approx(8 * 379_584, rel=0.01)
    assert row["tokens"] == row["samples"] * 128


def test_operations_are_three_for_each_weight_and_token_and_some_for_attention(planned):
    plan = planned("shortened_llama_cpt")
    embedding, tokens = 256 * 64, plan.how.batch_size * 128
    assert 3 * (379_584 - embedding) * tokens < plan.step().macs < 1.5 * 3 * 379_584 * tokens


def test_adapters_alone_have_moments(planned):
    row = estimate(planned("shortened_llama_lora"), None, ROOMY).row
    assert 0 < row["memory"]["moments"] < row["memory"]["weights"]


def test_a_parent_that_is_distilled_from_is_held(planned):
    distil = "objective@stages.retrain.objective=logit_distillation"
    assert estimate(planned("shortened_llama_cpt", distil), None, ROOMY).row["memory"]["teacher"] > 0


def test_a_student_of_flap_is_as_large_as_it_will_be(planned):
    row = estimate(planned("shortened_llama_cpt", "pruner=flap", "stages.prune.scores=null"), None, ROOMY).row
    assert row["params"] == pytest.approx(379_584, rel=0.001)


def test_an_examination_says_what_of_the_texts_it_does_not_know(configured, llama_folder, text_file):
    where = [f"teacher={llama_folder}", "data=text_files", f"data.path={text_file}", "pruner.num_removed=3"]
    summary = examine(configured("+experiment=shortened_llama_cpt", *where, command="doctor"))
    assert summary["failed"] == 0
    assert [row["stage"] for row in summary["estimates"]] == ["retrain"]
    assert any("once they are packed" in finding["text"] for finding in summary["findings"])


def test_a_rehearsed_step_is_not_taken_of_language_models_and_that_is_said(planned):
    [finding] = rehearse_fits(None, [planned("shortened_llama_cpt")])
    assert finding.status == "note"
    assert "only steps of diffusion models" in finding.text
