"""Language models judged: perplexity, multiple-choice accuracy, the published zero-shot tasks."""

from ldc.evaluation.language.harness import NOT_RUN, zero_shot, zero_shot_or_not
from ldc.evaluation.language.multiple_choice import Accuracy, Question, accuracy, questions_of
from ldc.evaluation.language.perplexity import Perplexity, measure, perplexity, text_windows

__all__ = [
    "NOT_RUN",
    "Accuracy",
    "Perplexity",
    "Question",
    "accuracy",
    "measure",
    "perplexity",
    "questions_of",
    "text_windows",
    "zero_shot",
    "zero_shot_or_not",
]
