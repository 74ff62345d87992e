import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model

from ldc.families.taps import Tapped
from ldc.objectives import ConsistencyDistillation, Networks
from ldc.objectives.lora import AdaptersOff, add_lora

SD15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
BK_TINY = {
    **SD15,
    "layers_per_block": 1,
    "mid_block_type": None,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
}


@pytest.fixture
def student(tiny_nets):
    """A LoRA student whose adapters are no longer zero."""
    unet = add_lora(tiny_nets.filled(tiny_nets.config), rank=4, alpha=4)
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.02)
    return unet.double()


def losses_of(objective, networks, batch):
    return objective.losses(networks, batch, objective.draw(batch, 0))


def objective_of(tiny_nets, **options):
    options = {"guidance_range": 7.5, "guidance_embedding_dim": None, "target": "online", **options}
    return ConsistencyDistillation(tiny_nets.process(), **options)


@pytest.mark.parametrize(("config", "trainable"), [(SD15, 67_252_224), (BK_TINY, 29_331_456)], ids=["sd15", "bk_tiny"])
def test_default_targets_have_the_published_number_of_trainable_parameters(config, trainable):
    with torch.device("meta"):
        unet = add_lora(UNet2DConditionModel(**config), rank=64, alpha=64)
    assert sum(p.numel() for p in unet.parameters() if p.requires_grad) == trainable
    if config is SD15:
        assert sum(name.endswith("lora_A.default.weight") for name, _ in unet.named_parameters()) == 278


def test_new_adapters_change_no_output_and_only_they_train(teacher, tiny_nets):
    unet = add_lora(tiny_nets.filled(tiny_nets.config), rank=4, alpha=4).double()
    batch = tiny_nets.batch_of(2)
    inputs = (batch.latents, torch.tensor([19, 999]), batch.text)
    torch.testing.assert_close(unet(*inputs).sample, teacher(*inputs).sample, rtol=0, atol=1e-12)
    assert {name.split(".")[-3] for name, p in unet.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}


def test_a_student_with_adapters_off_is_its_teacher_and_keeps_one_copy_of_the_weights(student, teacher, tiny_nets):
    off = AdaptersOff(student)
    batch = tiny_nets.batch_of(2)
    inputs = (batch.latents, torch.tensor([19, 999]), batch.text)
    assert torch.equal(off(*inputs).sample, teacher(*inputs).sample)
    assert not torch.allclose(student(*inputs).sample, teacher(*inputs).sample)
    assert list(off.parameters()) == []


def test_the_teacher_pass_leaves_the_adapters_trainable(student, tiny_nets):
    before = [name for name, p in student.named_parameters() if p.requires_grad]
    batch = tiny_nets.batch_of(1)
    AdaptersOff(student).eval().requires_grad_(False)(batch.latents, torch.tensor([19]), batch.text)
    assert before
    assert [name for name, p in student.named_parameters() if p.requires_grad] == before


def test_a_failing_teacher_pass_leaves_the_adapters_on(student, tiny_nets):
    batch = tiny_nets.batch_of(1)
    inputs = (batch.latents, torch.tensor([19]), batch.text)
    before = student(*inputs).sample
    with pytest.raises(RuntimeError):
        AdaptersOff(student)(batch.latents, torch.tensor([19]), batch.text[..., :3])
    assert torch.equal(student(*inputs).sample, before)


def test_distilling_from_itself_equals_distilling_from_a_copy_and_trains_the_adapters(student, teacher, tiny_nets):
    objective, batch = objective_of(tiny_nets), tiny_nets.batch_of(2)
    own = losses_of(objective, Networks(student, AdaptersOff(student)), batch)["total"]
    other = losses_of(objective, Networks(student, teacher), batch)["total"]
    torch.testing.assert_close(own, other, rtol=1e-12, atol=0)
    own.backward()
    assert objective.needs == ("teacher",)
    gradients = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    assert len(gradients) == len([p for p in student.parameters() if p.requires_grad])
    assert all(".lora_" in name for name in gradients)


def test_taps_reach_through_the_teacher_that_is_the_student(student, teacher, tiny_nets):
    points = [("down_blocks.0", "down_blocks.0")]
    objective, batch = objective_of(tiny_nets, feature_points=points, feature_weight=1), tiny_nets.batch_of(2)
    other = losses_of(objective, Networks(student, teacher), batch)["feature"]
    own = losses_of(objective, Networks(student, AdaptersOff(student)), batch)["feature"]
    tapped = Tapped(student, ["down_blocks.0"])
    wrapped = Networks(tapped, Tapped(AdaptersOff(tapped), ["down_blocks.0"]))
    assert own == losses_of(objective, wrapped, batch)["feature"]
    torch.testing.assert_close(own, other, rtol=1e-12, atol=0)


@pytest.mark.integration
def test_a_compiled_student_with_adapters_off_is_still_its_base():
    student = inject_adapter_in_model(LoraConfig(r=2, target_modules=["0"], init_lora_weights=False), OneLayer())
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    on, base = student(x), student.layers[0].base_layer(x)
    off = AdaptersOff(student)
    student.compile(backend="eager", fullgraph=True)
    off.compile(backend="eager")
    torch.testing.assert_close(off(x), base)
    torch.testing.assert_close(student(x), on)
    assert not torch.allclose(on, base)


class OneLayer(torch.nn.Module):
    """One linear layer that can be adapted: a U-Net takes minutes to trace."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 4))

    def forward(self, x):
        return self.layers(x)


def test_a_student_without_adapters_is_no_teacher_of_itself(teacher):
    with pytest.raises(ValueError, match="needs a student with LoRA adapters, not one without"):
        AdaptersOff(teacher)


def test_targets_that_are_no_modules_and_ranks_below_one_are_refused(teacher):
    with pytest.raises(ValueError, match=r"LoRA targets must name modules of UNet2DConditionModel, not q_proj\."):
        add_lora(teacher, targets=("to_q", "q_proj"))
    with pytest.raises(ValueError, match="LoRA rank must be at least 1, not 0"):
        add_lora(teacher, rank=0)
