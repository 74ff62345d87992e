import gc
from pathlib import Path

import pytest

from ldc.training import DistillationModule


@pytest.mark.integration
def test_a_finished_stage_leaves_no_networks_in_memory(trained, teacher_folder, laion):
    gc.collect()
    gc.disable()  # what is freed is freed by the chain, not by chance
    try:
        summary = trained(
            "+experiment=bksdm",
            f"teacher={teacher_folder}",
            "data=laion",
            f"data.path={laion}",
            "data.size=32",
            "~stages.evaluate",
            fits=["distil"],
        )
        left = [thing for thing in gc.get_objects() if issubclass(type(thing), DistillationModule)]
    finally:
        gc.enable()
    assert (Path(summary["run"]) / "distil" / "unet").is_dir()
    assert left == []
