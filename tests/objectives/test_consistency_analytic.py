"""A teacher whose every answer is known: data N(mean, std^2), for which f has a closed form."""

import pytest
import torch
from torch import nn

from ldc.objectives import ConsistencyDistillation, Networks


class GaussianTeacher(nn.Module):
    """The exact noise of data N(mean, std^2): eps = sigma (x - alpha mean) / (alpha^2 std^2 + sigma^2)."""

    def __init__(self, process, mean=0.7, std=0.4):
        super().__init__()
        self.process, self.mean, self.std = process, mean, std

    def forward(self, x, t, _text):
        alpha, sigma = self.process.alpha_sigma(t, x)
        return sigma * (x - alpha * self.mean) / (alpha**2 * self.std**2 + sigma**2)


class ExactStudent(nn.Module):
    """Answers with the noise that makes f the composition of all DDIM steps to t = 0, in closed form x -> a x + b."""

    def __init__(self, process, mean=0.7, std=0.4):
        super().__init__()
        self.process = process
        alphas = process.alphas_cumprod.double().sqrt()
        self.slope, self.intercept = {0: 1.0}, {0: 0.0}
        for start, end in zip(range(19, 1000, 20), [0, *range(19, 980, 20)], strict=True):
            alpha, alpha_end = alphas[start].item(), alphas[end].item()
            sigma, sigma_end = (1 - alpha**2) ** 0.5, (1 - alpha_end**2) ** 0.5
            gain = sigma / (alpha**2 * std**2 + sigma**2)  # eps = gain (x - alpha mean)
            factor = sigma_end - alpha_end * sigma / alpha  # x_end = alpha_end / alpha x + factor eps
            a, b = alpha_end / alpha + factor * gain, -factor * gain * alpha * mean
            self.slope[start] = self.slope[end] * a
            self.intercept[start] = self.slope[end] * b + self.intercept[end]

    def forward(self, x, t, _text):
        a, b = (
            torch.tensor([table[i] for i in t.tolist()], dtype=x.dtype).reshape(-1, 1, 1, 1)
            for table in (self.slope, self.intercept)
        )
        alpha, sigma = self.process.alpha_sigma(t, x)
        scaled = 10.0 * t.to(x.dtype).reshape(-1, 1, 1, 1)
        c_skip, c_out = 0.25 / (scaled**2 + 0.25), scaled / (scaled**2 + 0.25).sqrt()
        x_0 = (a * x + b - c_skip * x) / c_out.where(c_out > 0, 1.0)
        return (x - alpha * x_0) / sigma


def gaussian_inputs(tiny_nets, objective):
    batch = tiny_nets.batch_of(50)
    latents = 0.7 + 0.4 * torch.randn(50, 4, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    draws = objective.draw(batch._replace(latents=latents), 0)
    return batch._replace(latents=latents), draws._replace(timesteps=objective.solver.start(torch.arange(50)))


def test_the_exact_solution_of_an_analytic_teacher_has_no_loss(tiny_nets):
    objective = ConsistencyDistillation(tiny_nets.process(), guidance_embedding_dim=None)
    process = objective.process
    inputs = gaussian_inputs(tiny_nets, objective)
    exact = objective.losses(Networks(ExactStudent(process), GaussianTeacher(process)), *inputs)["total"].item()
    untrained = objective.losses(Networks(GaussianTeacher(process), GaussianTeacher(process)), *inputs)["total"].item()
    assert exact < 1e-10
    assert untrained > 1e-5


def test_the_exact_solution_turns_noise_into_the_data_in_one_step(tiny_nets):
    objective = ConsistencyDistillation(tiny_nets.process(), guidance_embedding_dim=None)
    student = ExactStudent(objective.process)
    x = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    t = torch.full((64,), 999)
    samples, _ = objective.consistency(student, x, t, x[:, 0], w=torch.zeros(64))
    assert samples.mean().item() == pytest.approx(0.7, abs=0.03)
    assert samples.std().item() == pytest.approx(0.4, abs=0.03)
