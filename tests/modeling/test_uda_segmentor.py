"""The whole model of a config: gradients, replay, devices, detectron2's interface."""

import copy
import random

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.modeling.postprocessing import sem_seg_postprocess
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from copt_d2.augment import class_mix_masks, draw_strong, patch_mask
from copt_d2.errors import InputError
from copt_d2.modeling.sliding_window import predict_windows
from copt_d2.structures import DomainBatch, StepDraws

SIZE = (64, 96)
LOSSES = [
    "loss_source_ce",
    "loss_source_feature_distance",
    "loss_source_copt",
    "loss_mixed_ce",
    "loss_masked_ce",
]
WAITING = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__")


def confident(cfg):
    built = build_model(cfg)
    with torch.no_grad():  # confident enough that pseudo-labels weigh something
        built.student.sem_seg_head.conv_seg.weight.mul_(200)
    built.teacher.update(built.student, 0)
    return built


@pytest.fixture
def model(tiny_cfg):
    return confident(tiny_cfg)


@pytest.fixture(params=["one resolution", "HRDA"])
def either_model(tiny_cfg, request):
    tiny_cfg.MODEL.HRDA.ENABLED = request.param == "HRDA"
    tiny_cfg.MODEL.HRDA.CROP_SIZE = 32
    tiny_cfg.MODEL.UDA.TARGET_FEATURE_LOSSES = ("CoPTLoss",)
    return confident(tiny_cfg)


@pytest.fixture
def batches():
    """Labels in blocks, so that cells of the last stage have a dominant class."""
    labels = torch.randint(0, 5, (2, 2, 3)).repeat_interleave(32, 1).repeat_interleave(32, 2)
    labels[0, 0, 0], labels[:, 5:9] = 1, 255
    labels[:, 32:, :32] = 1  # a thing class
    source = DomainBatch(torch.randn(2, 3, *SIZE), labels)
    return source, DomainBatch(torch.randn(2, 3, *SIZE), valid=torch.ones(2, *SIZE))


@pytest.fixture
def draws(batches):
    return StepDraws(
        mix_masks=class_mix_masks(batches[0].labels),
        mixed_strong=draw_strong(2, 1.0, 0.2, 1.0),
        masked_strong=draw_strong(2, 1.0, 0.2, 1.0, shared=True),
        patch_mask=patch_mask((2, 3, *SIZE), 0.7, 16),
    )


def sample(*size, labelled=False, **more):
    """A mapper's dict; its labels are two classes side by side, one of them a thing class."""
    found = {"image": torch.randint(0, 256, (3, *size), dtype=torch.uint8), **more}
    if labelled:
        found["sem_seg"] = torch.full(size, 1, dtype=torch.uint8)
        found["sem_seg"][:, 40:] = 4
    return found


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def reseed():
    random.seed(11)
    torch.manual_seed(11)


def test_forward_gives_the_gradients_of_phases_one_by_one(model):
    inputs = {
        "source": [sample(60, 96, labelled=True), sample(64, 90, labelled=True)],
        "target": [sample(64, 96), sample(64, 96)],
    }
    other = copy.deepcopy(model)
    reseed()
    together = model(inputs)
    sum(together.values()).backward()
    reseed()
    apart = {}
    for phase in other.training_phases(*other.preprocess(inputs)):
        sum(phase.values()).backward()
        apart.update(phase)
    assert list(together) == list(apart) == LOSSES
    for name in LOSSES:
        assert together[name].shape == ()
        assert torch.equal(together[name], apart[name])
        assert together[name] > 0
    mine, theirs = gradients(model), gradients(other)
    assert (
        set(mine)
        == set(theirs)
        == {n for n, _ in model.named_parameters() if n.startswith("student.")}
    )
    for name, gradient in mine.items():
        # float32, summed in another order
        scale = gradient.abs().max().item()
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-5 * scale + 1e-9)
    for key, value in model.state_dict().items():  # batch norms, the memory bank
        assert torch.equal(value, other.state_dict()[key])


def test_injected_draws_give_the_same_losses(model, batches, draws):
    results = []
    for seed in (1, 2):
        replay = copy.deepcopy(model)
        random.seed(seed)
        torch.manual_seed(seed)
        found = {}
        for phase in replay.training_phases(*batches, draws):
            found.update(phase)
        results.append(found)
    assert list(results[0]) == LOSSES
    assert results[0] == results[1]  # bit for bit


def test_each_phase_moves_what_it_should(model, batches):
    bank = model.feature_losses["copt"].memory_bank
    assert not bank.any()
    teacher = copy.deepcopy(dict(model.teacher.network.named_parameters()))
    frozen = copy.deepcopy(model.feature_losses["feature_distance"].frozen_encoder.state_dict())
    for phase in model.training_phases(*batches):
        sum(phase.values()).backward()
    assert bank[1].any()
    assert not bank.requires_grad
    for name, parameter in model.teacher.network.named_parameters():
        assert torch.equal(parameter, teacher[name])
    encoder = model.feature_losses["feature_distance"].frozen_encoder
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, frozen[key])


def test_the_pseudo_label_weight_counts_confident_pixels(model, batches):
    list(model.training_phases(*batches))
    confident = model.teacher.predict(batches[1].images).softmax(dim=1).amax(dim=1) >= 0.968
    share = model.diagnostics["pseudo_label_weight"].item()
    assert 0 < share < 1
    assert share == pytest.approx(confident.double().mean().item())


def test_an_iteration_never_waits_for_the_device(either_model, batches, monkeypatch):
    model = either_model

    def refuse(*_, **__):
        raise AssertionError("waits for the device")

    with monkeypatch.context() as patch:
        for name in WAITING:
            patch.setattr(torch.Tensor, name, refuse)
        with pytest.raises(AssertionError, match="waits"):  # the patch itself works
            bool(torch.ones(1))
        model.teacher.update(model.student, 3)
        for phase in model.training_phases(*batches):
            sum(phase.values()).backward()
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA, which says who waits for it")
def test_an_iteration_never_synchronises(either_model, batches):
    model = either_model.cuda()
    batches = [
        DomainBatch(*(None if x is None else x.cuda() for x in vars(batch).values()))
        for batch in batches
    ]
    list(model.training_phases(*batches))  # what is set up once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.teacher.update(model.student, 3)
        for phase in model.training_phases(*batches):
            sum(phase.values()).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())


def test_no_shape_of_an_iteration_depends_on_values(model, batches):
    # fake tensors hold no values: to read one, or to make a shape from one, is an error
    mode = FakeTensorMode()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fake = nn.Parameter(mode.from_tensor(parameter.detach()), parameter.requires_grad)
            module._parameters[name] = fake
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = mode.from_tensor(buffer)
    source, target = (
        DomainBatch(*(None if x is None else mode.from_tensor(x) for x in vars(batch).values()))
        for batch in batches
    )
    with mode:
        with pytest.raises(DataDependentOutputException):  # the mode itself works
            source.labels.max().item()
        model.teacher.update(model.student, 3)
        for phase in model.training_phases(source, target):
            sum(phase.values()).backward()
    shapes = {name: gradient.shape for name, gradient in gradients(model).items()}
    assert shapes == {n: p.shape for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("listed", [(), ("CoPTLoss",), ("CoPTLoss", "FeatureDistanceLoss")])
def test_methods_differ_by_lists_in_the_config(tiny_cfg, batches, listed):
    tiny_cfg.MODEL.UDA.PHASES = ("source", "masked")
    tiny_cfg.MODEL.UDA.FEATURE_LOSSES = listed
    keys = {"CoPTLoss": "loss_source_copt", "FeatureDistanceLoss": "loss_source_feature_distance"}
    phases = list(build_model(tiny_cfg).training_phases(*batches))
    assert [list(phase) for phase in phases] == [
        ["loss_source_ce", *(keys[name] for name in listed)],
        ["loss_masked_ce"],
    ]


def test_both_domains_have_a_memory_of_their_own(tiny_cfg, batches):
    tiny_cfg.MODEL.UDA.PHASES = ("source",)
    tiny_cfg.MODEL.UDA.FEATURE_LOSSES = tiny_cfg.MODEL.UDA.TARGET_FEATURE_LOSSES = ("CoPTLoss",)
    model = build_model(tiny_cfg)
    phases = list(model.training_phases(*batches))
    assert [list(phase) for phase in phases] == [
        ["loss_source_ce", "loss_source_copt"],
        ["loss_target_copt"],
    ]
    source, target = (
        losses["copt"].memory_bank for losses in (model.feature_losses, model.target_feature_losses)
    )
    assert source.any()
    assert target.any()
    assert not torch.equal(source, target)


def test_source_only_has_no_teacher_and_needs_no_target(tiny_cfg):
    tiny_cfg.MODEL.UDA.PHASES = ("source",)
    tiny_cfg.MODEL.UDA.FEATURE_LOSSES = ()
    model = build_model(tiny_cfg)
    assert model.teacher is None
    losses = model({"source": [sample(64, 96, labelled=True)] * 2, "target": []})
    assert list(losses) == ["loss_source_ce"]


def test_settings_come_from_the_config(tiny_cfg):
    uda = tiny_cfg.MODEL.UDA
    uda.TEACHER_ALPHA, uda.PSEUDO_THRESHOLD, uda.IGNORE_TOP, uda.IGNORE_BOTTOM = 0.9, 0.8, 3, 5
    uda.JITTER_PROBABILITY, uda.JITTER_STRENGTH, uda.BLUR_PROBABILITY = 0.1, 0.3, 0.2
    uda.MASK_RATIO, uda.MASK_WEIGHT = 0.6, 0.5
    uda.MASK_DOMAINS, uda.MASK_AUGMENT = ("source",), False
    tiny_cfg.TEST.WINDOW = (32, 48)
    model = build_model(tiny_cfg)
    teacher = model.teacher
    assert (teacher.alpha, teacher.threshold) == (0.9, 0.8)
    assert (teacher.ignore_top, teacher.ignore_bottom) == (3, 5)
    assert model.strong == {
        "jitter_probability": 0.1,
        "jitter_strength": 0.3,
        "blur_probability": 0.2,
    }
    assert (model.mask_ratio, model.mask_block_size, model.mask_weight) == (0.6, 16, 0.5)
    assert (model.mask_domains, model.mask_augment) == (("source",), False)
    assert model.test_window == model.test_stride == (32, 48)  # no stride: windows side by side
    tiny_cfg.TEST.STRIDE = (16, 24)
    assert build_model(tiny_cfg).test_stride == (16, 24)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PHASES", ("source", "maskd")),
        ("FEATURE_LOSSES", ("CoPT",)),
        ("TARGET_FEATURE_LOSSES", ("CoPT",)),
        ("MASK_DOMAINS", ("source", "tarmac")),
    ],
)
def test_unknown_names_in_the_lists(tiny_cfg, key, value):
    tiny_cfg.MODEL.UDA[key] = value
    with pytest.raises(InputError, match=f"MODEL.UDA.{key}.*{value[-1]}"):
        build_model(tiny_cfg)


def test_the_teacher_holds_the_students_keys(model):
    state = model.state_dict()
    student = {key.removeprefix("student.") for key in state if key.startswith("student.")}
    prefix = "teacher.network."
    assert {key.removeprefix(prefix) for key in state if key.startswith(prefix)} == student
    assert "feature_losses.copt.memory_bank" in state
    assert sum("memory_bank" in key for key in state) == 1


# inference


def test_evaluation_returns_logits_at_the_stored_size(model):
    model.eval()
    inputs = [sample(64, 96, height=128, width=192), sample(37, 53), sample(65, 97, height=65)]
    with torch.no_grad():
        results = model(inputs)
        whole = model.student.predict(model.preprocessor.normalise(inputs[0]["image"])[None])[0]
    assert [tuple(r["sem_seg"].shape) for r in results] == [(5, 128, 192), (5, 37, 53), (5, 65, 97)]
    expected = sem_seg_postprocess(whole, (64, 96), 128, 192)
    torch.testing.assert_close(results[0]["sem_seg"], expected)


def test_evaluation_in_windows(model):
    model.eval()
    whole = sample(50, 70)
    with torch.no_grad():
        model.test_window = (64, 96)  # larger than the image
        model.test_stride = (32, 48)
        one = model([whole])[0]["sem_seg"]
        model.test_window = None
        torch.testing.assert_close(one, model([whole])[0]["sem_seg"])
        model.test_window, model.test_stride = (32, 32), (16, 24)
        windows = model([whole])[0]["sem_seg"]
        image = model.preprocessor.normalise(whole["image"])[None]
        expected = predict_windows(model.student.predict, image, (32, 32), (16, 24))[0]
    assert windows.shape == (5, 50, 70)
    torch.testing.assert_close(windows, expected)
    assert not torch.allclose(windows, one)


def test_evaluation_changes_nothing(model):
    model.eval()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        first = model([sample(64, 96)])[0]["sem_seg"]
    assert first.isfinite().all()
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
