import json

import pytest
import torch

from ldc.evaluation.cells import EvaluationSet
from ldc.evaluation.evaluate import evaluate, real_features
from ldc.evaluation.stamp import compare
from ldc.models.generate import render


def copies(real, n):
    """Draws exactly the real images of the cells that are asked for."""
    return lambda *_: real.images[real.choose(n)]


def test_real_images_reach_full_fidelity_and_no_distance(real, extractor, cache):
    figures = evaluate(copies(real, 16), real, n=16, extractor=extractor, cache=cache)["metrics"]
    assert figures["fidelity_top1"] == figures["fidelity_top5_cell"] == 1.0
    assert figures["kid"] <= 0.0
    assert figures["frechet64"] == pytest.approx(0.0, abs=1e-3)
    assert figures["nearest_training"] == pytest.approx(0.0, abs=1e-5)
    assert figures["nearest_training_real"] > 0.01


def test_the_result_is_json_with_its_pictures_beside(real, extractor, cache):
    result = evaluate(copies(real, 8), real, n=8, extractor=extractor, cache=cache)
    assert json.loads(json.dumps(result["metrics"])) == result["metrics"]
    assert result["stamp"]["num_images"] == len(result["images"]) == len(result["captions"]) == 8


def test_two_models_are_asked_the_same(real, extractor, cache):
    asked = []

    def draw(captions, indices):
        asked.append((list(captions), list(indices)))
        return torch.zeros(8, 3, 64, 64, dtype=torch.uint8)

    one, other = (evaluate(draw, real, n=8, extractor=extractor, cache=cache) for _ in range(2))
    assert asked[0] == asked[1]
    compare(one["stamp"], other["stamp"])


def test_figures_of_other_seeds_and_sizes_are_not_compared(real, extractor, cache):
    first = evaluate(copies(real, 8), real, n=8, extractor=extractor, cache=cache)["stamp"]
    with pytest.raises(ValueError, match="seed of the stamps"):
        compare(first, evaluate(copies(real, 8), real, n=8, seed=1, extractor=extractor, cache=cache)["stamp"])
    with pytest.raises(ValueError, match="num_images of the stamps"):
        compare(first, evaluate(copies(real, 4), real, n=4, extractor=extractor, cache=cache)["stamp"])


def test_real_features_are_kept_between_calls(real, extractor, gallery, tmp_path):
    first = real_features(real, extractor, tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = real_features(real, extractor, tmp_path)
    assert file.stat().st_mtime_ns == written
    assert torch.equal(first, again)
    torch.testing.assert_close(again, gallery)


def test_another_set_has_its_own_cache_file(real, records, extractor, tmp_path):
    real_features(real, extractor, tmp_path)
    real_features(EvaluationSet.from_records(records[:4]), extractor, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_too_few_images_are_refused_before_any_is_drawn(real):
    with pytest.raises(ValueError, match=r"n must be at least 4, not 3."):
        evaluate(lambda *_: pytest.fail("drawn"), real, n=3)


def test_a_model_is_drawn_and_measured(toy, real, extractor, cache):
    result = evaluate(toy, real, n=8, steps=2, batch_size=4, extractor=extractor, cache=cache)
    captions = [real.cells[i].caption for i in real.choose(8)]
    expected = render(toy, captions, steps=2, seed=0, batch_size=4)
    assert torch.equal(result["images"], expected)
    assert result["metrics"]["kid"] > 0.5  # noise of a network that never learnt


def test_steps_are_asked_for_before_a_model_is_run(toy, real):
    with pytest.raises(ValueError, match=r"steps must be given for a model, not none."):
        evaluate(toy, real, n=8)


def test_a_guidance_that_the_model_cannot_take_is_refused(toy, real):
    with pytest.raises(ValueError, match=r"guidance_scale must be at least 0, not -1"):
        evaluate(toy, real, n=8, steps=1, guidance_scale=-1.0)
