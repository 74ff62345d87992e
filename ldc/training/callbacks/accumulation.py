"""Goes on with another number of micro-batches a step, as when a fit moves to more or fewer ranks."""

from typing import Any

from lightning.pytorch import Callback


class Accumulation(Callback):
    """Restates Lightning's count of batches in today's micro-batches when a checkpoint is loaded.

    Lightning ends a step where its count of batches is a multiple of `accumulate_grad_batches`, and goes on from that
    count. A checkpoint of 5 steps of one batch, read by a fit of two batches a step, would make its first step of
    one batch. Checkpoints are saved at step boundaries, so the count is a whole number of steps.
    """

    def __init__(self) -> None:
        self._accumulate = 1

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._accumulate = trainer.accumulate_grad_batches

    def state_dict(self) -> dict[str, Any]:
        return {"accumulate": self._accumulate}

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        then = checkpoint.get("callbacks", {}).get(self.state_key, {}).get("accumulate", self._accumulate)
        if then == self._accumulate:
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            shift = counts["processed"] // then * self._accumulate - counts["processed"]
            counts |= {name: value + shift for name, value in counts.items() if isinstance(value, int)}
