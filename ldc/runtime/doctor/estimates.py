"""What a fit will take: memory of a rank, checkpoint, samples, multiply-accumulates and time on an assumed device."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig

from ldc.models.language import LANGUAGE_KIND
from ldc.profiling.machine import GB
from ldc.runtime.batching import num_ranks
from ldc.runtime.doctor.findings import NOTE, WARNING, Finding
from ldc.runtime.doctor.language import LanguageNetworks, language_networks
from ldc.runtime.doctor.memory import Memory, Sharding, on_one_rank
from ldc.runtime.doctor.networks import FitNetworks, fit_networks
from ldc.runtime.doctor.steps import Encoding, How, Step, simulate, simulate_language
from ldc.training.strategies.blocks import blocks

MEMORY, BATCH = "memory", "batch"
METHOD = (
    "one micro-batch of each fit, forward and backward pass and optimizer step, ran eagerly on fake tensors; memory is "
    "the highest sum of live tensors, divided among ranks by the strategy, without kernels' workspaces, sample grids "
    "and what compilation saves; time is the operations over the assumed rate, without communication and data"
)


@dataclass(frozen=True)
class Assumed:
    """The device that a run is planned for."""

    name: str
    tflops: float
    memory_gb: float
    utilisation: float
    reserve: float

    @property
    def usable_gb(self) -> float:
        return self.memory_gb * (1 - self.reserve)


@dataclass(frozen=True)
class Plan:
    """A fit's networks and how they are to be trained, on how many ranks."""

    name: str
    config: DictConfig
    networks: FitNetworks
    encoding: Encoding
    how: How
    sharding: Sharding

    def step(self) -> Step:
        """Returns a simulated micro-batch."""
        return simulate(self.networks, self.config, self.encoding, self.config.data.size, self.how)

    def memory(self, step: Step) -> Memory:
        """Returns what a rank holds."""
        return on_one_rank(step, self.sharding, largest_block(self.networks.student))


@dataclass(frozen=True)
class LanguagePlan(Plan):
    """The same of a language model."""

    networks: LanguageNetworks  # pyrefly: ignore  in place of a diffusion model's

    def step(self) -> Step:
        return simulate_language(self.networks, self.config, self.how)


@dataclass(frozen=True)
class Estimate:
    """A fit's figures; `row` is what the summary shows."""

    plan: Plan
    step: Step
    memory: Memory
    row: dict[str, Any]
    findings: list[Finding]

    @property
    def checkpoint(self) -> int:
        """Bytes: student, moments, target and average, in one file or in shards."""
        average = self.step.trained if self.plan.sharding.averaging else 0
        return self.step.student + self.step.moments + self.step.target + average


def plan_fit(cfg: DictConfig, name: str) -> tuple[Plan, list[Finding]]:
    """Returns the plan of a fit, with a warning where its batch cannot be divided and the next larger one is taken.

    Raises:
        ValueError: the teacher's or an earlier stage's networks cannot be told without weights.
    """
    config = cfg.stages[name]
    how, sharding, found = _division(name, config)
    if get_class(config["_target_"]).kind == LANGUAGE_KIND:
        plan: Plan = LanguagePlan(name, config, language_networks(cfg, name), Encoding(False, False), how, sharding)
        return plan, found
    pixels = config.encoded is None
    captions = pixels or not (cfg.stages.get(config.encoded) or {}).get("text", True)
    return Plan(name, config, fit_networks(cfg, name), Encoding(pixels, captions), how, sharding), found


def _division(name: str, config: DictConfig) -> tuple[How, Sharding, list[Finding]]:
    """Returns how a fit's batch is computed and divided, with a note where it is not as the config says."""
    trainer: Mapping[str, Any] = config.trainer
    ranks = num_ranks(trainer)
    share = -(-max(1, config.batch_size) // ranks)
    micro = min(share, config.micro_batch_size or share)
    micro -= next(less for less in range(micro) if share % (micro - less) == 0)
    found = []
    if micro * (share // micro) * ranks != config.batch_size or (config.micro_batch_size or micro) != micro:
        text = f"{name}: estimated as {ranks} ranks x {share // micro} x {micro} samples, batch_size={share * ranks}"
        found = [Finding(BATCH, NOTE, text)]
    how = How(
        micro, trainer["precision"], trainer["teacher_dtype"], trainer["gradient_checkpointing"], _is_gpu(trainer)
    )
    shard_teacher = bool(trainer.get("shard_teacher", False))
    sharding = Sharding(trainer["strategy"], ranks, shard_teacher, config.averaging is not None, share // micro)
    return how, sharding, found


def estimate(plan: Plan, samples: int | None, assumed: Assumed) -> Estimate:
    """Returns a fit's figures on the assumed device; `samples` are those of the data, where they are known."""
    step = plan.step()
    memory = plan.memory(step)
    config, sharding = plan.config, plan.sharding
    macs = step.macs * sharding.accumulate  # of a rank
    seconds = 2 * macs / (assumed.tflops * 1e12 * assumed.utilisation)
    seen = config.max_steps * plan.how.batch_size * sharding.accumulate * sharding.ranks
    total = memory.total / GB
    found = Estimate(plan, step, memory, {}, [])
    row = {
        "stage": plan.name,
        "params": sum(parameter.numel() for parameter in plan.networks.student.parameters()),
        "strategy": sharding.strategy,
        "ranks": sharding.ranks,
        "accumulate": sharding.accumulate,
        "micro_batch_size": plan.how.batch_size,
        "steps": config.max_steps,
        "samples": seen,
        **({"tokens": seen * config.length} if "length" in config else {}),
        "epochs": None if not samples else seen / samples,
        "tmacs_per_step": macs * sharding.ranks / 1e12,
        "step_seconds": seconds,
        "hours": config.max_steps * seconds / 3600,
        "gpu_hours": config.max_steps * seconds / 3600 * sharding.ranks,
        "checkpoint_gb": found.checkpoint / GB,
        "memory_gb": total,
        "fits": total <= assumed.usable_gb,
        "memory": {name: size / GB for name, size in asdict(memory).items()},
    }
    text = f"{plan.name}: {total:.1f} GiB a rank of {assumed.memory_gb:g} on {assumed.name}"
    if row["fits"]:
        return replace(found, row=row, findings=[Finding(MEMORY, "ok", text)])
    advice = "; then ".join(f"{setting} ({gb:.1f} GiB)" for setting, gb in remedies(plan, assumed.usable_gb))
    tried = f"In this order, each with those before: {advice}" if advice else "All that would make room is done already"
    text = f"{text}, which leaves less than {assumed.reserve:.0%} free. {tried}"
    return replace(found, row=row, findings=[Finding(MEMORY, WARNING, text)])


def remedies(plan: Plan, usable_gb: float) -> list[tuple[str, float]]:
    """Returns (setting, GiB of a rank with it and those before it), the cheapest first, until the fit has room."""
    tried: list[tuple[str, float]] = []
    for setting, changed in _changes(plan):
        tried.append((setting, changed.memory(changed.step()).total / GB))
        if tried[-1][1] <= usable_gb:
            break
    return tried


def _changes(plan: Plan) -> Any:
    """Yields (setting, plan with it and with all before it)."""
    if not plan.how.gradient_checkpointing:
        plan = replace(plan, how=replace(plan.how, gradient_checkpointing=True))
        yield "trainer.gradient_checkpointing=true", plan
    if plan.how.batch_size > 1:
        for size in _smaller(plan.how.batch_size):
            accumulate = plan.sharding.accumulate * plan.how.batch_size // size
            sharding = replace(plan.sharding, accumulate=accumulate)
            plan = replace(plan, how=replace(plan.how, batch_size=size), sharding=sharding)
            yield f"stages.{plan.name}.micro_batch_size={size}", plan
    if plan.how.teacher_dtype is None and not plan.networks.own_teacher:
        plan = replace(plan, how=replace(plan.how, teacher_dtype="bfloat16"))
        yield "trainer.teacher_dtype=bfloat16", plan
    if plan.sharding.ranks > 1 and plan.sharding.strategy != "fsdp2":
        plan = replace(plan, sharding=replace(plan.sharding, strategy="fsdp2"))
        yield "trainer=fsdp2", plan


def _smaller(size: int) -> list[int]:
    """Returns the divisors that are at most a quarter of the one before, and 1 at last: each costs a simulation."""
    found = [size]
    for divisor in (d for d in range(size - 1, 0, -1) if size % d == 0):
        if divisor == 1 or divisor * 4 <= found[-1]:
            found.append(divisor)
    return found[1:]


def largest_block(student: Any) -> int:
    """Returns the bytes of the largest part that FSDP2 gathers at a time."""
    parts = [sum(p.numel() * p.element_size() for p in block.parameters()) for block in blocks(student)]
    return max(parts, default=0)


def _is_gpu(trainer: Mapping[str, Any]) -> bool:
    return trainer["accelerator"] != "cpu"
