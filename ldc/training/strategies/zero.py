"""DeepSpeed's ZeRO: the optimizer's moments (1), the gradients too (2), the parameters too (3) are divided among ranks.

DeepSpeed clips gradients, counts micro-batches and takes the optimizer's step; checkpoints are this project's, since
DeepSpeed's hold no average, and no other number of ranks can read them. deepspeed is imported when a strategy is made.
"""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from lightning.pytorch.plugins.precision import DeepSpeedPrecision
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from ldc.training.strategies.parts import master, stretch
from ldc.training.strategies.sharded import Sharded

BUCKET = 50_000_000  # elements that are reduced or gathered at a time
STAGES = (1, 2, 3)
log = logging.getLogger(__name__)


class InputsAsTheyAre(DeepSpeedPrecision):
    """Leaves batches to autocast: cast to bfloat16 beforehand, latents would lose what the losses need."""

    def convert_input(self, data: Any) -> Any:
        return data


class Zero(Sharded, DeepSpeedStrategy):
    """ZeRO of a stage on GPUs.

    Weights stay in float32, and bf16-mixed is torch's autocast, as under DDP: DeepSpeed's own bfloat16 would train
    bfloat16 weights, of which neither target nor average can be kept.

    Args:
        stage: 1, 2 or 3.
        backend: "nccl" on GPUs, "gloo" on CPUs.
        timeout: how long a rank waits for the others.
    """

    kind = "deepspeed"

    def __init__(self, stage: int, backend: str, timeout: timedelta):
        super().__init__(
            stage=stage,
            process_group_backend=backend,
            timeout=timeout,
            exclude_frozen_parameters=True,
            reduce_bucket_size=BUCKET,
            allgather_bucket_size=BUCKET,
        )
        if stage == max(STAGES):
            # No parameter stays gathered from step to step: the target moves by its partitions.
            settings: Any = self.config
            settings["zero_optimization"]["stage3_param_persistence_threshold"] = 0

    def _format_config(self) -> None:
        settings: Any = self.config
        precision: Any = self.precision_plugin.precision
        self.precision_plugin = InputsAsTheyAre(precision)
        settings["timers"] = {"throughput": {"enabled": False}}  # it waits for the GPU twice a step
        if precision == "bf16-mixed":
            settings["bf16"] = {"enabled": False}  # Lightning sets it where it is missing
            # No module's weights or gradients travel in bfloat16: they do not under DDP.
            settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
        super()._format_config()

    def setup(self, trainer: Any) -> None:
        if not all(p.is_contiguous() for p in self.lightning_module.bare_student.parameters()):
            log.warning("channels_last does not hold for the weights under DeepSpeed, which flattens them.")
        super().setup(trainer)

    def backward(self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any) -> None:
        # Lightning has divided the loss by the number of micro-batches already.
        super().backward(closure_loss, optimizer, *args, scale_wrt_gas=False, **kwargs)

    @property
    def zero(self) -> Any:
        """DeepSpeed's optimizer around torch's."""
        return self.optimizers[0]

    def base_optimizer(self) -> Optimizer:
        return self.zero.optimizer

    def gradients(self) -> list[Tensor]:
        """Returns this rank's part of the averaged gradients, between backward pass and step."""
        return [gradient for group in self.zero.averaged_gradients.values() for gradient in group or ()]

    def place(self, parameter: Any) -> tuple[Tensor, int] | None:
        """Returns the flat tensor that torch's optimizer updates, and where the parameter begins in it."""
        if hasattr(parameter, "ds_tensor"):
            group, start, _ = self.zero.grad_position[self.zero.get_param_id(parameter)]
            return self.zero.fp32_partitioned_groups_flat[group], start
        mapping = parameter._hp_mapping  # noqa: SLF001 - DeepSpeed's link from a parameter to its partition
        if mapping is None:
            return None
        return self.zero.single_partition_of_fp32_groups[mapping.param_group_index], mapping.hp_fragment_address.start

    def owner(self, parameter: nn.Parameter) -> Tensor | None:
        found = self.place(parameter)
        return None if found is None else found[0]

    def state_of(self, parameter: nn.Parameter) -> Iterator[tuple[str, Tensor]]:
        found, values = self.place(parameter), master(parameter)
        if found is None or values is None or not stretch(parameter)[1]:
            return
        flat, start = found
        for key, value in self.base_optimizer().state[flat].items():
            yield key, value.narrow(0, start, values.numel()) if value.dim() else value

    def after_load(self) -> None:
        if self.zero_stage_3:
            self.zero.refresh_fp32_params()  # the optimizer's copies, from the partitions that were loaded
        else:
            self.zero.update_lp_params()  # the whole parameters, from all ranks' partitions


class CpuZero(Zero):
    """ZeRO on CPUs over gloo, which Lightning refuses and DeepSpeed does not."""

    def setup_environment(self) -> None:
        super(DeepSpeedStrategy, self).setup_environment()  # without the check for CUDA

    def setup_distributed(self) -> None:
        import deepspeed  # noqa: PLC0415 - takes seconds

        # DeepSpeed would compile its all-reduce through shared memory here, with a compiler that may not be there.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self.set_world_ranks()  # without the check of the devices' indices, which CPUs have not
        self._init_deepspeed_distributed()

    def _setup_model_and_optimizer(
        self, model: nn.Module, optimizer: Optimizer | None, lr_scheduler: Any = None
    ) -> tuple[Any, Optimizer]:
        import deepspeed  # noqa: PLC0415 - takes seconds

        initialize: Any = deepspeed.initialize  # whose annotations say less than it takes
        engine, wrapped, _, _ = initialize(
            config=self.config,
            model=model,
            model_parameters=[p for p in model.parameters() if p.requires_grad],
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            dist_init_required=False,
        )
        return engine, wrapped
