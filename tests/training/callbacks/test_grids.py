import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ldc.training import SampleGrids, WeightAverage, fit, loggers


def render(unet, steps):
    """One pixel column a step, as bright as the network's first weight."""
    level = int(abs(unet.enter.weight.flatten()[0].item()) * 1000) % 256
    return Image.fromarray(np.full((5, 10 * steps, 3), level, dtype=np.uint8))


def test_grids_are_written_at_steps_and_at_the_end(toy_module, toy_data, tmp_path):
    grids = SampleGrids(render, tmp_path, every_n_steps=2)
    fit(toy_module(), toy_data(5), folder=tmp_path, max_steps=5, callbacks=[grids], accelerator="cpu")

    files = sorted((tmp_path / "samples").glob("step-*.png"))
    assert [file.name for file in files] == ["step-000002.png", "step-000004.png", "step-000005.png"]
    with Image.open(files[0]) as image:
        assert image.width == 80  # the band of 8 steps


def test_grids_are_drawn_in_evaluation_mode_and_training_goes_on(toy_module, toy_data, tmp_path):
    modes = []

    def watch(unet, steps):
        modes.append(unet.training)
        return render(unet, steps)

    module = toy_module()
    grids = SampleGrids(watch, tmp_path, every_n_steps=1, sampling_steps=(1, 4))
    fit(module, toy_data(2), folder=tmp_path, max_steps=2, callbacks=[grids], accelerator="cpu")

    assert modes == [False] * 4
    assert module.bare_student.training


def test_grids_are_drawn_from_the_average_where_there_is_one(toy_module, toy_data, tmp_path):
    drawn = []
    average = WeightAverage()

    def watch(unet, steps):
        drawn.append(unet.enter.weight.detach().clone())
        return render(unet, steps)

    grids = SampleGrids(watch, tmp_path, every_n_steps=100, sampling_steps=(1,), average=average)
    module = toy_module()
    fit(module, toy_data(3), folder=tmp_path, max_steps=3, average=average, callbacks=[grids], accelerator="cpu")

    assert (drawn[0] == average.average["enter.weight"]).all()
    assert not (drawn[0] == module.bare_student.enter.weight).all()


def test_tensorboard_gets_the_grids(toy_module, toy_data, tmp_path):
    grids = SampleGrids(render, tmp_path, every_n_steps=1)
    logs = loggers(["tensorboard"], tmp_path, "toy")
    fit(toy_module(), toy_data(2), folder=tmp_path, max_steps=2, loggers=logs, callbacks=[grids], accelerator="cpu")

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Images("samples")] == [1, 2]
    assert "train/total" in events.Tags()["scalars"]
