import torch

from ldc.evaluation.cells import Cell
from ldc.evaluation.fidelity import caption_fidelity, hits


def cell(concept, style="flat", split="train", drawing=None):
    return Cell(f"{concept} in {style} style", concept, style, split, drawing or f"{concept}/{style}")


AXES = torch.eye(6)


def test_real_images_show_what_they_are_called(real, gallery):
    figures = caption_fidelity(gallery, real.cells, gallery, real.cells)
    splits = {cell.split for cell in real.cells}
    assert splits > {"train"}
    assert set(figures) == {f"fidelity_top{k}{kind}" for k in (1, 5) for kind in ("", *(f"_{s}" for s in splits))}
    assert set(figures.values()) == {1.0}


def test_images_of_other_concepts_are_wrong(real, gallery):
    moved = [real.cells[i - 3] for i in range(len(real.cells))]  # the same style, the concept before
    assert caption_fidelity(gallery, moved, gallery, real.cells)["fidelity_top1"] == 0.0


def test_only_the_prompts_style_is_searched():
    cells = [cell("cat", "flat"), cell("dog", "round"), cell("cat", "round")]
    features = AXES[1][None] + 0.1 * AXES[0]  # nearest of all is the round dog, but a flat cat was asked for
    assert hits(features, [cells[0]], AXES[:3], cells, k=1).item()


def test_a_drawing_of_two_concepts_is_right_for_both():
    cells = [cell("cat", drawing="same"), cell("cat face", drawing="same"), cell("dog")]
    gallery = AXES[[0, 0, 1]]
    assert hits(gallery[:2], cells[:2], gallery, cells, k=1).tolist() == [True, True]


def test_equal_drawings_take_one_of_the_five_places():
    copies = [cell(f"copy {i}", drawing="same") for i in range(5)]
    cells = [*copies, cell("dog")]
    gallery = torch.stack([AXES[0]] * 5 + [AXES[1]])
    features = (AXES[0] + 0.5 * AXES[1])[None]
    assert hits(features, [cells[5]], gallery, cells, k=5).item()


def test_fifth_place_is_right_at_five_only():
    cells = [cell(name) for name in "abcdef"]
    features = torch.tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]])
    assert not hits(features, [cells[4]], AXES, cells, k=1).item()
    assert hits(features, [cells[4]], AXES, cells, k=5).item()
    assert not hits(features, [cells[5]], AXES, cells, k=5).item()


def test_each_split_is_counted_apart():
    cells = [cell("a"), cell("b"), cell("c", split="cell"), cell("d", split="composition")]
    figures = caption_fidelity(AXES[[0, 0, 2, 0]], cells, AXES[:4], cells)
    assert figures["fidelity_top1"] == 0.5
    assert figures["fidelity_top1_train"] == 0.5
    assert figures["fidelity_top1_cell"] == 1.0
    assert figures["fidelity_top1_composition"] == 0.0


def test_a_split_without_images_is_left_out():
    figures = caption_fidelity(AXES[:1], [cell("a")], AXES[:1], [cell("a")])
    assert set(figures) == {f"fidelity_top{k}{kind}" for k in (1, 5) for kind in ("", "_train")}
