"""How much is pruned by default: so many blocks, unless the user says it in another way."""

from omegaconf import DictConfig, OmegaConf

OTHER_WAYS = ("ratio", "params")


def default_budget(number: int, *, _parent_: DictConfig) -> int | None:
    """Returns the number of blocks, or null where a ratio or parameters are given beside it.

    A pruner's config or an experiment writes it as `num_removed: ${default_budget:6}`: what is typed beats it, whether
    that is a number in its place or a budget of another kind; two that are typed are refused.
    """
    is_given = any(_parent_.get(name) is not None for name in OTHER_WAYS)
    return None if is_given else number


OmegaConf.register_new_resolver("default_budget", default_budget, replace=True)
