import copy

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from ldc.families.taps import Tapped
from ldc.objectives import BlockDistillation, ConsistencyDistillation, Denoising, Networks

POINTS = [("down_blocks.1", "down_blocks.1"), ("up_blocks.3", "up_blocks.3")]


@pytest.fixture(params=["denoising", "block distillation", "consistency"])
def objective(request, tiny_nets):
    process = tiny_nets.process()
    if request.param == "consistency":
        return ConsistencyDistillation(process, guidance_range=(2, 14))
    return Denoising(process) if request.param == "denoising" else BlockDistillation(process, [])


def same(a, b):
    return all(x is y is None or torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_draws_are_a_pure_function_of_seed_and_position(objective, tiny_nets):
    batch = tiny_nets.batch_of(4, torch.tensor([5, 6, 7, 10**9]))
    torch.manual_seed(1)
    first = objective.draw(batch, 3)
    torch.manual_seed(2)
    assert same(first, objective.draw(batch, 3))
    assert not torch.equal(first.noise, objective.draw(batch, 4).noise)


def test_two_half_batches_draw_what_the_whole_batch_draws(objective, tiny_nets):
    whole = objective.draw(tiny_nets.batch_of(4, torch.tensor([0, 1, 2, 3])), 0)
    halves = [objective.draw(tiny_nets.batch_of(2, torch.tensor(p)), 0) for p in ([0, 1], [2, 3])]
    assert not torch.equal(halves[0].noise, halves[1].noise)
    assert not torch.equal(halves[0].timesteps, halves[1].timesteps)
    for name in ("timesteps", "noise"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name)), name


def test_timesteps_noise_and_guidance_of_many_positions_cover_their_ranges(tiny_nets):
    objective = ConsistencyDistillation(tiny_nets.process(), guidance_range=(2, 14))
    draws = objective.draw(tiny_nets.batch_of(1000), 0)
    assert set(draws.timesteps.tolist()) == set(range(19, 1000, 20))
    assert 2 <= draws.guidance.min() < 2.1
    assert 13.9 < draws.guidance.max() < 14
    assert abs(draws.noise.mean().item()) < 0.01
    assert abs(draws.noise.std().item() - 1) < 0.01
    # Index and w have a purpose each: one does not foretell the other.
    pair = torch.stack([draws.timesteps.double(), draws.guidance])
    assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.1


@pytest.mark.gpu
def test_losses_never_wait_for_the_gpu(objective, teacher, tiny_nets):
    width = 256 if isinstance(objective, ConsistencyDistillation) else None
    student = tiny_nets.pruned("base", teacher, time_cond_proj_dim=width).cuda()
    networks = Networks(student, copy.deepcopy(teacher).cuda(), student)
    batch = tiny_nets.batch_of(2)
    batch = batch._replace(**{name: getattr(batch, name).cuda() for name in ("latents", "text", "empty_text")})
    objective(networks, batch)["total"].backward()  # what is made once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:  # a wait for the GPU raises
        total = objective(networks, batch)["total"]
        total.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert total.isfinite()


def test_a_fixed_w_is_the_same_for_every_sample(tiny_nets):
    draws = ConsistencyDistillation(tiny_nets.process(), guidance_range=7.5).draw(tiny_nets.batch_of(8), 0)
    assert draws.guidance.tolist() == [7.5] * 8


def test_forward_is_the_losses_of_the_objectives_own_draws(teacher, tiny_nets):
    objective = Denoising(tiny_nets.process(), seed=11)
    batch = tiny_nets.batch_of(2)
    expected = objective.losses(Networks(teacher), batch, objective.draw(batch, 11))
    assert objective(Networks(teacher), batch) == expected


def step(objective, student, teacher, batch):
    """Returns the total and the gradients of one step; gradients by the parameter's name without wrappers."""
    losses = objective(Networks(student, teacher), batch)
    losses["total"].backward()
    return losses["total"].detach(), {
        name.removeprefix("module.").removeprefix("module."): p.grad for name, p in student.named_parameters()
    }


def rank_main(rank, folder, tiny_nets, teacher):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    student = DistributedDataParallel(Tapped(tiny_nets.pruned("base", teacher), [s for _, s in POINTS]))
    objective = BlockDistillation(tiny_nets.process(), POINTS, seed=5)
    batch = half(tiny_nets.batch_of(4), rank)
    total, gradients = step(objective, student, teacher, batch)
    torch.save((total, gradients, objective.draw(batch, 5)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def half(batch, rank):
    part = slice(2 * rank, 2 * rank + 2)
    return batch._replace(
        latents=batch.latents[part], text=batch.text[part], positions=batch.positions[part], keys=batch.keys[part]
    )


@pytest.mark.integration
def test_two_ranks_give_the_loss_and_gradients_of_one_process_and_draw_different_noise(tmp_path, tiny_nets, teacher):
    multiprocessing.start_processes(rank_main, (str(tmp_path), tiny_nets, teacher), nprocs=2, start_method="fork")
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)]
    objective = BlockDistillation(tiny_nets.process(), POINTS, seed=5)
    total, gradients = step(objective, tiny_nets.pruned("base", teacher), teacher, tiny_nets.batch_of(4))
    torch.testing.assert_close((ranks[0][0] + ranks[1][0]) / 2, total, rtol=1e-9, atol=0)
    assert ranks[0][0] != ranks[1][0]
    assert not torch.equal(ranks[0][2].noise, ranks[1][2].noise)
    assert gradients.keys() == ranks[0][1].keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(ranks[0][1][name], gradient, rtol=1e-7, atol=1e-12, msg=name)
