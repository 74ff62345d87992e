"""The ledger of a simulated step against what a real step holds, by torch's own count of the CPU allocator."""

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from ldc.profiling import params
from ldc.profiling.ledger import ACTIVATIONS, CASTS, GRADIENTS, HELD, cuda_norms, simulated, stand_in


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=[16, 32],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=2,
    ).train()


def forward(unet, *, mixed):
    inputs = torch.zeros(2, 4, 8, 8), torch.zeros(2, dtype=torch.int64), torch.zeros(2, 3, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        return unet(*inputs, return_dict=False)[0].float().square().mean()


def simulate(unet, *, mixed):
    """Returns the ledger's rows and its bytes of activations and casts when the forward pass has ended."""
    with simulated() as ledger:
        network = stand_in(unet)
        ledger.follow(network.parameters())
        ledger.kind = ACTIVATIONS
        loss = forward(network, mixed=mixed)
        saved = ledger.now[ACTIVATIONS] + ledger.now[CASTS]
        loss.backward()
        return ledger.rows(), saved, ledger.macs


def allocated(unet, *, mixed):
    """Returns the most bytes that a real step has taken from the CPU's allocator at once, gradients included."""
    unet.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        forward(unet, mixed=mixed).backward()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    unet.zero_grad(set_to_none=True)
    taken = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    return int(taken.cumsum(0).max())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_simulated_peak_is_what_a_real_step_takes_from_the_allocator(unet, mixed, checkpointing):
    (unet.enable_gradient_checkpointing if checkpointing else unet.disable_gradient_checkpointing)()
    forward(unet, mixed=mixed).backward()  # what is made once is made
    rows, _, _ = simulate(unet, mixed=mixed)
    peak = allocated(unet, mixed=mixed)
    unet.disable_gradient_checkpointing()
    # Kernels take scratch memory of their own, those of bfloat16 more; at this size it counts.
    assert rows[:, GRADIENTS:].sum(1).max() == pytest.approx(peak, rel=0.05 if mixed else 0.02)


def test_what_the_forward_pass_leaves_is_what_autograd_has_saved(unet):
    own = {p.untyped_storage().data_ptr() for p in unet.parameters()}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor  # kept, so that no other storage takes its place

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward(unet, mixed=False)
    _, left, _ = simulate(unet, mixed=False)
    assert loss.requires_grad
    assert left == pytest.approx(sum(saved.values()), rel=0.02)


def test_held_weights_and_gradients_are_counted_to_the_byte(unet):
    rows, _, _ = simulate(unet, mixed=False)
    assert rows[:, HELD].max() == rows[-1, GRADIENTS] == 4 * params(unet)


def test_casts_of_weights_are_told_from_activations(unet):
    assert simulate(unet, mixed=False)[0][:, CASTS].max() == 0
    casts = simulate(unet, mixed=True)[0][:, CASTS].max()
    assert 0.9 * 2 * params(unet) < casts <= 2 * params(unet)  # bfloat16; norms stay as they are


def test_checkpointing_computes_more_and_holds_less(unet):
    plain, left, macs = simulate(unet, mixed=False)
    unet.enable_gradient_checkpointing()
    lean, less, more = simulate(unet, mixed=False)
    unet.disable_gradient_checkpointing()
    assert less < 0.5 * left
    assert lean[:, ACTIVATIONS].max() < plain[:, ACTIVATIONS].max()
    assert macs < more < 4 / 3 * macs


def test_a_backward_pass_counts_twice_the_products_of_a_forward_pass():
    layer = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    with simulated() as ledger:
        network = stand_in(layer)
        loss = network(torch.empty(3, 6)).sum()
        forward_macs = ledger.macs
        loss.backward()
    assert forward_macs == 3 * (6 * 5 + 5 * 4)
    assert ledger.macs == 3 * forward_macs - 3 * 6 * 5  # the inputs ask for no gradient


def test_cudas_autocast_keeps_norms_in_float32():
    with simulated():
        norm, x = stand_in(nn.GroupNorm(2, 4)), torch.empty(1, 4, 2, 2, dtype=torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert norm(x).dtype == torch.bfloat16
            with cuda_norms():
                assert norm(x).dtype == torch.float32
