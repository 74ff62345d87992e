"""`python -m ldc.doctor +experiment=NAME trainer.devices=64`: checks a run of `ldc.train`, and what it will take."""

from typing import Any

from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("doctor")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Checks and estimates; the summary holds both. It is printed too where a check fails, which is a user's error."""
    from ldc.runtime.batching import planning  # noqa: PLC0415 - a wrong key is answered before the libraries load
    from ldc.runtime.doctor import examine  # noqa: PLC0415 - a wrong key is answered before the libraries load

    with planning():
        summary = examine(cfg)
    if summary["failed"]:
        first = next(finding["text"] for finding in summary["findings"] if finding["status"] == "failed").rstrip(".")
        sentence = (
            f"All checks must hold before this run can start, but {summary['failed']} failed, the first: {first}."
        )
        raise runtime.SummarisedError(sentence, summary)
    return summary


if __name__ == "__main__":
    main()
