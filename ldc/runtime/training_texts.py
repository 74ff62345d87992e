"""What a language model is trained on, and measured on while it trains: packed texts of an earlier stage."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ldc.data.text import TokenBatch
from ldc.data.text.module import TokenDataModule
from ldc.runtime.chain import Context
from ldc.runtime.requirements import check_kind

if TYPE_CHECKING:
    from ldc.runtime.stages.fit_language import FitLanguage


def check_training_texts(cfg: DictConfig, fit: "FitLanguage") -> None:
    """Raises ValueError where a fit's texts cannot be had, as far as can be told before any work."""
    check_kind(cfg, "encoded", fit.encoded, "encoded_texts")


def training_texts(fit: "FitLanguage", context: Context, tokenizer: Any) -> TokenDataModule:
    """Returns the data module of a fit."""
    folder = context.inputs[fit.encoded].outputs["encoded"]
    return TokenDataModule(
        folder, fit.shares.micro_batch_size, fit.seed, length=fit.length, num_workers=fit.num_workers
    )


def held_out_batches(fit: "FitLanguage", data: TokenDataModule) -> list[TokenBatch]:
    """Returns the texts that the fit is measured on, the same at every measuring."""
    size = fit.held_out["batch_size"] or data.batch_size
    return list(data.held_out(size, fit.held_out["windows"], fit.held_out["part"]))
