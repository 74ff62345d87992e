"""What a language model is trained on, and measured on while it trains: packed texts of a stage, or instructions."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ldc.data.text import TokenBatch
from ldc.data.text.module import InstructionDataModule, TokenDataModule
from ldc.runtime.chain import Context
from ldc.runtime.requirements import check_kind
from ldc.runtime.stage_settings import StageSettingError
from ldc.runtime.texts import check_held_out, instruction_module, instruction_source

if TYPE_CHECKING:
    from ldc.runtime.stages.fit_language import FitLanguage

Texts = TokenDataModule | InstructionDataModule


def check_training_texts(cfg: DictConfig, fit: "FitLanguage") -> None:
    """Raises ValueError where a fit's texts cannot be had, as far as can be told before any work."""
    if (fit.encoded is None) == (fit.instructions is None):
        raise StageSettingError(
            "encoded must be null where instructions are given, and name a stage where they are not."
        )
    if fit.encoded is not None:
        check_kind(cfg, "encoded", fit.encoded, "encoded_texts")
        parts = [] if fit.held_out["part"] is None else [fit.held_out["part"]]
        check_held_out(cfg.stages[fit.encoded].data, parts, "held_out.part", fit.length)
        return
    instruction_source(fit.instructions).check()
    if fit.held_out["part"] is not None:
        raise StageSettingError(
            f"held_out.part must be null for instructions, which have no parts, not {fit.held_out['part']!r}."
        )


def training_texts(fit: "FitLanguage", context: Context, tokenizer: Any) -> Texts:
    """Returns the data module of a fit.

    Raises:
        ValueError: there are instructions to tokenise, but no tokenizer.
    """
    size, workers = fit.shares.micro_batch_size, fit.num_workers
    if fit.encoded is not None:
        folder = context.inputs[fit.encoded].outputs["encoded"]
        return TokenDataModule(folder, size, fit.seed, length=fit.length, num_workers=workers)
    if tokenizer is None:
        raise ValueError("student must have a tokenizer to be trained on instructions, but it has none.")
    return instruction_module(fit.instructions, tokenizer, size, fit.seed, cutoff=fit.length, num_workers=workers)


def held_out_batches(fit: "FitLanguage", data: Texts) -> list[TokenBatch]:
    """Returns the texts that the fit is measured on, the same at every measuring.

    Raises:
        ValueError: they are less than a window.
    """
    size = fit.held_out["batch_size"] or data.batch_size
    try:
        return list(data.held_out(size, fit.held_out["windows"], fit.held_out["part"]))
    except ValueError as error:  # by its bytes it might have been enough
        if fit.encoded is None:
            raise
        more = "raise held_out of the data, or give files of their own, or a smaller length"
        raise ValueError(f"{str(error).removesuffix('.')}: {more}.") from error
