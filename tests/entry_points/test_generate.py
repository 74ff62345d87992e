import pytest
from PIL import Image

from ldc.generate import main
from ldc.runtime.paths import ASSETS

EMOJI_LDM = ASSETS / "emoji_ldm"

PROMPTS = ["an apple, a pear", """it's the "best" hat""", "f(x) = {y: [1, 2]}", "${price} and \\${x}"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_any_text_is_a_prompt_and_a_file_name(command, tmp_path, prompt):
    out = tmp_path / f"{prompt}.png"
    summary = command(main, f"student={EMOJI_LDM}", f"prompt={prompt}", "steps=1", f"out={out}").summary
    assert summary["prompts"] == [prompt]
    assert Image.open(out).size == (64, 64)


def test_several_images_are_a_grid_and_single_files(command, tmp_path):
    command(main, "prompt=red apple", "num_images=2", "steps=1", f"out={tmp_path / 'a.png'}")
    assert Image.open(tmp_path / "a.png").width > 64
    assert [Image.open(tmp_path / f"a-00{k}.png").size for k in range(2)] == [(64, 64)] * 2


def test_an_image_is_started_from(command, tmp_path):
    Image.new("RGB", (100, 80), "red").save(tmp_path / "red.png")
    out = tmp_path / "out.png"
    start = f"init_image={tmp_path / 'red.png'}"
    command(main, "prompt=blue heart", start, "strength=0.1", "steps=10", f"out={out}")
    red, green, blue = Image.open(out).resize((1, 1)).getpixel((0, 0))
    assert red > 150 > green + blue  # a tenth of the way: still red


def test_a_dry_run_tells_the_settings_and_writes_nothing(command, tmp_path, few_step_student):
    out = tmp_path / "x.png"
    summary = command(main, f"student={few_step_student}", "prompt=x", f"out={out}", "dry_run=true").summary
    assert (summary["steps"], summary["guidance_scale"]) == (4, 8.0)
    assert not out.exists()


def test_the_embedded_teacher_is_guided_alike_by_name_and_by_folder(command):
    options = ["prompt=x", "dry_run=true"]
    by_name = command(main, "student=emoji_ldm", *options).summary
    by_folder = command(main, f"student={EMOJI_LDM}", *options).summary
    assert by_name["guidance_scale"] == by_folder["guidance_scale"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "prompt or prompts_file must be given, and not both."),
        (["prompt=x", "out=x.gif"], "out must end in .png, .jpg or .webp, not 'x.gif'."),
        (["prompt=x", "num_images=0"], "num_images must be a whole number from 1, not 0."),
        (["prompt=x", "init_image=none.png"], "init_image must be a readable picture, not 'none.png'"),
        (["prompt=x", "student=./none"], "student must be an existing folder or a hub id"),
        (["prompt=x", "guidance=-1"], "guidance_scale must be at least 0, not -1."),
        (["prompt=x", "device=quantum"], "device must be one that this machine has, such as cpu, not 'quantum'."),
        (["prompt=x", "steps=0"], "steps must be a whole number from 1, not 0."),
        (["prompt=x", "steps=two"], "steps must be a whole number from 1, not 'two'."),
        (["prompt=x", "strength=2"], "strength must be a number in (0, 1], not 2."),
    ],
)
def test_wrong_input_is_refused(refused, arguments, sentence):
    assert sentence in refused(main, *arguments)


def test_a_guidance_outside_the_trained_range_is_refused(refused, few_step_student):
    said = refused(main, f"student={few_step_student}", "prompt=x", "guidance=2")
    assert said == "guidance_scale must be in [3, 15], the range of this model, not 2."
