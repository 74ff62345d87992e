"""A stream of token sequences with unequal numbers of labels, for fits of small language models."""

import torch
from torch.utils.data import DataLoader, Dataset

from ldc.data.module import StreamDataModule
from ldc.data.text import NO_LOSS, TokenBatch

SIZE, LENGTH = 11, 12


def sample(number):
    """Returns ids and labels (L,): text with a pattern to learn, the first `number` tokens without labels."""
    first = torch.randint(3, 64, (1,), generator=torch.Generator().manual_seed(number))
    ids = (first + 3 * torch.arange(LENGTH)) % 250 + 3
    labels = ids.clone()
    labels[: number % (LENGTH - 2)] = NO_LOSS
    return ids, labels


def collate(samples):
    positions = torch.tensor([position for position, _ in samples])
    ids, labels = (torch.stack(parts) for parts in zip(*(found for _, found in samples), strict=True))
    return TokenBatch(ids, labels, torch.ones_like(ids), positions, [f"text {p}" for p in positions.tolist()])


def token_batch(*numbers):
    """Returns the batch of these samples."""
    return collate([(number, sample(number)) for number in numbers])


class Tokens(Dataset):
    """Position p holds sample p % SIZE."""

    size = SIZE

    def __getitem__(self, position):
        return position, sample(position % SIZE)


class TokenStream(StreamDataModule):
    """The project's stream over the samples; `unlabelled` takes all labels away."""

    unlabelled = False

    def loader(self, consumed, finished, num_batches) -> DataLoader:
        return self._sampled(Tokens(), self.collate, consumed, finished, num_batches)

    def collate(self, samples):
        batch = collate(samples)
        return batch._replace(labels=torch.full_like(batch.labels, NO_LOSS)) if self.unlabelled else batch
