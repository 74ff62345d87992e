"""Refuses words of a command line that a shell or a habit has made, before Hydra reads them as something else."""

from collections import Counter
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser


def check_words(arguments: Sequence[str]) -> None:
    """Checks that each word is a known flag or KEY=VALUE, and that a path is given once.

    Raises:
        ValueError: one is neither, or a shell has made several paths of one with braces, of which only the last counts.
    """
    flags = get_args_parser()._option_string_actions  # noqa: SLF001 - argparse tells them nowhere else
    before = ""
    for word in arguments:
        name = word.partition("=")[0]
        if word.startswith("-") and name not in flags:
            setting = f"{name.lstrip('-').replace('-', '_')}={word.partition('=')[2] or 'true'}"
            raise ValueError(f"Options must be KEY=VALUE, as in {setting}, or one of Hydra's flags, not {word!r}.")
        is_of_flag = before in flags and flags[before].nargs != 0
        if "=" not in word and not word.startswith(("-", "~")) and not is_of_flag:
            raise ValueError(f"Words must be KEY=VALUE, not {word!r}: a value with spaces needs quotes, as KEY='A B'.")
        before = word
    paths = Counter(word.partition("=")[0] for word in arguments if word.partition("=")[0].endswith("path"))
    for key, times in paths.items():
        if times > 1:
            quoted = f"{key}='{{0..9}}.tar'"
            raise ValueError(f"{key} must be given once, not {times} times: braces need quotes, as in {quoted}.")
