import pytest
import torch

from ldc.evaluation.bootstrap import resample
from ldc.evaluation.per_image import PerImage

STAMP = {"seed": 3, "extractor": "efficientnet_lite0"}


@pytest.fixture(scope="module")
def kept(real, gallery):
    chosen = real.choose(8)
    exact = gallery[chosen]
    features = {"copies, 25 steps": exact, "shuffled": exact.flip(0) + 5.0}
    return PerImage.of(features, chosen, real, gallery, STAMP)


def test_what_is_kept_is_read_back_whole(kept, tmp_path):
    kept.save(tmp_path)
    read = PerImage.load(tmp_path)
    assert list(read.features) == ["copies, 25 steps", "shuffled"]
    assert read.stamp == STAMP
    for name in read.features:
        assert torch.equal(read.features[name], kept.features[name])
        assert torch.equal(read.top1[name], kept.top1[name])
    assert torch.equal(read.real, kept.real)
    assert torch.equal(read.place, kept.place)
    assert [path.name for path in tmp_path.iterdir()] == ["per_image.npz"]


def test_each_prompt_stands_beside_its_own_real_image(kept):
    assert torch.equal(kept.real[kept.place], kept.features["copies, 25 steps"])


def test_copies_are_nearer_and_always_right(kept):
    counts = resample(8, 20)
    copies, other = (kept.sampled(name, "kid", counts) for name in kept.features)
    assert copies.value < other.value
    assert kept.sampled("copies, 25 steps", "fidelity_top1", counts).value == 1.0


def test_repeated_prompts_share_their_real_image(real, gallery):
    number = len(real.cells) + 4
    chosen = real.choose(number)
    repeated = PerImage.of({"a": gallery[chosen]}, chosen, real, gallery, STAMP)
    assert len(repeated.real) < len(repeated.place) == number


def test_a_folder_without_features_is_refused(tmp_path):
    with pytest.raises(ValueError, match="which an evaluation with keep_features=true writes"):
        PerImage.load(tmp_path)


def test_a_figure_that_is_no_mean_over_images_is_refused(kept):
    with pytest.raises(ValueError, match="metric must be kid or fidelity_top1, not 'frechet64'"):
        kept.sampled("shuffled", "frechet64", resample(8, 2))
