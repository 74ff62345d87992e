import pytest
import torch

from ldc.runtime.devices import device_of

HAS_GPU = torch.cuda.is_available() or torch.backends.mps.is_available()


def test_the_cpu_is_always_there():
    assert device_of("cpu") == torch.device("cpu")


def test_auto_takes_a_gpu_where_there_is_one():
    assert (device_of("auto").type != "cpu") == HAS_GPU


@pytest.mark.parametrize("word", ["tpu", "gpu", "cuda"])
@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_refused(word):
    with pytest.raises(ValueError, match=rf"loader\.device must be cpu or auto on this machine, not '{word}'"):
        device_of(word)


@pytest.mark.integration
@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
@pytest.mark.parametrize("stage", ["encode", "evaluate"])
def test_a_stage_works_where_its_config_says(trained, teacher_folder, laion, stage):
    data = ("data=shards", f"data.path={laion}", "data.size=32", f"teacher={teacher_folder}")
    settings = "{teacher: {model: teacher, steps: 1}}"
    measured = (
        "~stages.evaluate.settings",
        f"+stages.evaluate.settings={settings}",
        "stages.evaluate.picture=[teacher]",
    )
    with pytest.raises(ValueError, match=r"loader\.device must be cpu or auto on this machine, not 'gpu'"):
        trained("+experiment=bksdm", *data, *measured, "~stages.distil", f"stages.{stage}.loader.device=gpu")
