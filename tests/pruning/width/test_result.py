"""What a width plan says of itself in the log."""

import pytest
import torch

from ldc.families.llama_width import widths
from ldc.pruning.width import WandaSp, WidthScores


@pytest.mark.parametrize(("device", "lines"), [("cpu", 1), ("meta", 0)])
def test_what_is_kept_is_logged_where_weights_decided_it_and_not_where_only_the_size_is_known(
    tiny_llama, caplog, device, lines
):
    caplog.set_level("INFO")
    model = tiny_llama().to(device)
    each = [widths(block) for block in model.model.layers]
    scores = WidthScores([torch.arange(float(w.groups)) for w in each], [torch.arange(float(w.neurons)) for w in each])
    WandaSp(num_removed=2).plan(model, scores=scores)
    assert sum(text.startswith("Kept ") for text in caplog.messages) == lines
