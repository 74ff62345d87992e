import pytest

from ldc.quantization.settings import GptqSettings


@pytest.mark.parametrize(("widths", "size"), [((4096, 11008), 128), ((576, 1536), 64), ((128,), 128)])
def test_groups_have_128_columns_where_that_divides_every_width_else_64(widths, size):
    assert GptqSettings().group_for(widths) == size


def test_one_group_a_layer_fits_any_width():
    assert GptqSettings(group_size="channel").group_for([172, 64]) is None


def test_a_group_size_that_divides_not_all_widths_is_refused_with_the_widths():
    with pytest.raises(ValueError, match=r"every layer \(64, 172\), not be 128 or 64: .* or group_size=channel\."):
        GptqSettings().group_for([64, 172])
    with pytest.raises(ValueError, match=r"\(576, 1536\), not be 128"):
        GptqSettings(group_size=128).group_for([576, 1536])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"bits": 1}, "bits must be a whole number from 2 to 8, not 1."),
        ({"bits": "4"}, "bits must be a whole number from 2 to 8, not '4'."),
        ({"group_size": 0}, "group_size must be a whole number from 1, channel or null, not 0."),
        ({"group_size": "row"}, "group_size must be a whole number from 1, channel or null, not 'row'."),
        ({"damp": 0}, "damp must be above 0 and at most 1, not 0."),
        ({"damp": "much"}, "damp must be above 0 and at most 1, not 'much'."),
        ({"act_order": "no"}, "act_order must be true or false, not 'no'."),
        ({"other_dtype": "int8"}, "other_dtype must be one of float16, bfloat16, float32, not 'int8'."),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, sentence):
    with pytest.raises(ValueError, match="must") as refused:
        GptqSettings(**settings)
    assert str(refused.value) == sentence
