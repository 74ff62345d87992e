from ldc.models import Guidance
from ldc.runtime.teacher_card import PartFacts, teacher_card

PART = PartFacts("autoencoder", 1234567, "972 images of emoji64_mini", 41600, {"PSNR in dB": 27.123})


def card(held_out, prompts=("red apple", "black heart"), num_held_out_prompts=1, notice=None):
    return teacher_card(
        "teacher_emoji",
        [PART],
        held_out=held_out,
        guidance=Guidance("cfg", 3.0, (1.5, 5.0)),
        steps=25,
        prompts=prompts,
        num_held_out_prompts=num_held_out_prompts,
        prediction_type="v_prediction",
        notice=notice,
    )


def test_the_card_gives_each_parts_size_data_and_samples():
    assert "| autoencoder | 1,234,567 | 972 images of emoji64_mini | 41,600 | PSNR in dB: 27.12 |" in card({})


def test_the_card_counts_what_was_held_out_by_kind():
    text = card({"cell": 30, "composition": 12})
    assert "42 images of the denoiser's data (30 of kind `cell`, 12 of kind `composition`) were not trained on" in text
    assert "The last 1 are captions of held-out images" in text


def test_the_card_claims_nothing_held_out_where_nothing_is():
    text = card({}, num_held_out_prompts=0)
    assert "every image of the data was trained on" in text
    assert "captions of held-out images" not in text


def test_the_card_names_default_and_range_of_the_guidance():
    assert "`guidance_scale` is 3, and few-step students are\ntrained for [1.5, 5]" in card({})


def test_the_card_links_the_datas_licences_where_there_are_any():
    assert "[NOTICE.md](NOTICE.md)" in card({}, notice="NOTICE.md")
    assert "NOTICE" not in card({})
