import pytest
import torch
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

from ldc.evaluation.extractors import build_extractor
from ldc.evaluation.features import extract


def test_the_default_extractor_gives_1280_features(gallery, extractor):
    assert gallery.shape == (36, 1280)
    assert extractor.num_features == 1280
    assert gallery.isfinite().all()


def test_features_do_not_depend_on_the_batch(real, extractor, gallery):
    torch.testing.assert_close(extract(extractor, real.images[:3], batch_size=1), gallery[:3], rtol=1e-4, atol=1e-4)


def test_the_extractor_is_stamped_with_its_weights_and_resize(extractor):
    # The published file is named after its own digest: efficientnet-lite0-57934424.pth.
    assert extractor.fingerprint.startswith("57934424")
    assert extractor.resize == "bilinear-antialias-96"


def test_the_network_is_sure_of_what_it_sees(gallery, extractor):
    """The classifier's head is not used for features, but shows that weights and normalisation belong together."""
    network = extractor.network.body
    confidence = network._fc(gallery).softmax(dim=1).amax(dim=1)
    assert confidence.median() > 0.1  # 0.001 is chance


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)])
def test_images_of_another_kind_are_refused(extractor, images):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, 3, H, W\)"):
        extract(extractor, images)


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("resnet", None, "extractor must be efficientnet_lite0, inception or clip, not 'resnet'."),
        ("inception", None, "extractor 'inception' must have a path to its weights, not none."),
        ("inception", "no/such.pt", "must have the TorchScript file of the network, not 'no/such.pt'."),
        ("clip", "no/such-model", "must have a CLIP model's folder or hub id, not 'no/such-model'."),
    ],
)
def test_missing_extractors_are_refused_in_one_sentence(name, path, message):
    with pytest.raises(ValueError, match=message):
        build_extractor(name, path)


def test_clip_is_read_from_a_local_folder(tmp_path, real):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(**sizes, image_size=32, patch_size=16, projection_dim=8)
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    extractor = build_extractor("clip", str(tmp_path))
    assert extract(extractor, real.images[:2]).shape == (2, 8)
    assert extractor.resize == "bicubic-antialias-32"
