"""What FSDP2 and ZeRO share: a checkpoint to which every rank writes its shards, under the names of the parameters.

It holds student, target and published average as `student.NAME`, `target.NAME` and `average.NAME`, and the optimizer's
state as `optimizer.NAME.KEY`; the teacher is in none of them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ldc.training.strategies import storage
from ldc.training.strategies.parts import part

OPTIMIZER = "optimizer."


class Sharded:
    """A mixin for a Lightning strategy, before its base, that saves and loads shards.

    Attributes:
        kind: what the shards are of; another kind's checkpoint is refused.
    """

    kind: str
    lightning_module: Any
    optimizers: list[Any]

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return {}  # `save_checkpoint` collects the shards

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return {}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Does nothing: `load_checkpoint` has done it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Writes the folder; all ranks must call it.

        Raises:
            TypeError: storage options are given, which a local folder does not take.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options must be None for a local folder, not {storage_options!r}.")
        rest = {key: value for key, value in checkpoint.items() if key not in {"state_dict", "optimizer_states"}}
        optimizer = self.base_optimizer()
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        storage.save(self.shards(), rest | {"kind": self.kind, "param_groups": groups}, Path(filepath))

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a folder that any number of ranks has written into networks and optimizer; returns the rest.

        Raises:
            ValueError: the folder is another strategy's or of other networks.
        """
        folder = Path(checkpoint_path)
        rest = storage.read_rest(folder)
        if rest["kind"] != self.kind:
            raise ValueError(f"resume must be a checkpoint of {self.kind}, but {folder} is one of {rest['kind']}.")
        stored = storage.shapes(folder)
        self.lightning_module.check_stored({k: v for k, v in stored.items() if not k.startswith(OPTIMIZER)})
        self.make_optimizer_state({k.removeprefix(OPTIMIZER) for k in stored if k.startswith(OPTIMIZER)})
        storage.load(self.shards(), folder)
        for group, saved in zip(self.base_optimizer().param_groups, rest.pop("param_groups"), strict=True):
            group.update(saved)
        self.after_load()
        return rest

    def shards(self) -> dict[str, Any]:
        """Returns all that this rank saves or loads, by name; it shares memory with what trains."""
        shards = self.lightning_module.stored()
        for name, parameter in self.trained():
            for key, value in self.state_of(parameter):
                found = part(parameter, value) if value.dim() else value
                if found is not None:
                    shards[f"{OPTIMIZER}{name}.{key}"] = found
        return shards

    def make_optimizer_state(self, names: set[str]) -> None:
        """Makes the state that a step would make, for the values of a checkpoint to be read into.

        Raises:
            ValueError: the checkpoint has no state of a parameter that is trained.
        """
        keys: dict[str, list[str]] = {}
        for name in names:
            parameter, _, key = name.rpartition(".")
            keys.setdefault(parameter, []).append(key)
        for name, parameter in self.trained():
            if name not in keys:
                raise ValueError(f"the checkpoint must hold the optimizer's state of {name}, but has none.")
            owner = self.owner(parameter)
            if owner is None:
                continue
            state = self.base_optimizer().state[owner]
            for key in keys[name]:
                state.setdefault(key, empty_state(owner, is_count=key == "step"))

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields the student's parameters that the optimizer updates, by name."""
        student: nn.Module = self.lightning_module.bare_student
        return ((name, value) for name, value in student.named_parameters() if value.requires_grad)

    def base_optimizer(self) -> Optimizer:
        """Returns torch's optimizer."""
        return self.optimizers[0]

    def owner(self, parameter: nn.Parameter) -> Tensor | None:
        """Returns the tensor under which the optimizer keeps the parameter's state, None where other ranks have it."""
        return parameter

    def state_of(self, parameter: nn.Parameter) -> Iterator[tuple[str, Tensor]]:
        """Yields the optimizer's state of a parameter by key: local values, and counts without dimensions."""
        raise NotImplementedError

    def after_load(self) -> None:
        """Brings what was derived from loaded tensors up to date."""


def empty_state(owner: Tensor, *, is_count: bool) -> Tensor:
    """Returns a step count, or zeros like the parameter."""
    if is_count:
        return torch.zeros((), dtype=torch.float32, device=owner.device)
    return torch.zeros_like(owner, requires_grad=False)
