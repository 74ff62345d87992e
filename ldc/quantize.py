"""`python -m ldc.quantize student=FOLDER bits=4`: a language model's weights in a few bits each, by GPTQ."""

from typing import Any

from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("quantize")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes the quantised model as stock transformers reads it; `dry_run=true` tells sizes on the meta device."""
    from ldc.runtime.quantizing import quantize_language_model  # noqa: PLC0415 - wrong keys are answered before they load

    return quantize_language_model(cfg)


if __name__ == "__main__":
    main()
