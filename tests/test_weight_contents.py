"""What a file of weights may hold, and what is said of the rest, for every way in."""

import re

import pytest
import torch
from odd_weights import NAN, ODD, ODD_FOR_A_NETWORK, broken
from safetensors.torch import save_file
from torch import nn

from copt_d2.engine import load_student_weights
from copt_d2.errors import InputError
from copt_d2.modeling.backbone.mix_transformer import MixTransformer, load_mit_weights
from copt_d2.modeling.backbone.timm_features import TimmBackbone
from copt_d2.weight_files import fit_tensors, named_values


def told(call, *args, **options):
    """The one line of what must fail."""
    with pytest.raises(InputError) as raised:
        call(*args, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# names


@pytest.mark.parametrize(
    "stored",
    [
        *({"a": 1}, {"state_dict": {"a": 1}}, {"model": {"a": 1}, "epoch": 3}),
        *({"state_dict": {"model": {"a": 1}}}, {"model": {"state_dict": {"model": {"a": 1}}}}),
    ],
)
def test_wrappers(stored):
    assert named_values(stored, "x.pth") == {"a": 1}


def test_a_layer_may_have_the_name_of_a_wrapper():
    weights = torch.ones(2)
    assert named_values({"model": weights, "state_dict": weights}, "x") == {
        "model": weights,
        "state_dict": weights,
    }


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({}, "x.pth holds nothing"),
        ({"model": {}}, "x.pth holds nothing"),
        ({"model": None}, "x.pth holds a NoneType under 'model', not named tensors"),
        ({"state_dict": [torch.ones(1)]}, "x.pth holds a list under 'state_dict'"),
        ({"model": {"state_dict": "a.pth"}}, "x.pth holds a str under 'state_dict'"),
        ({3: torch.ones(1)}, "x.pth holds the key 3 (int), which is no name"),
        ({"model": {"a": 1, b"b": 2}}, "x.pth holds the key b'b', which is no name"),
        ({("a", "b"): 1}, "x.pth holds the key a tuple, which is no name"),
        ({"a\nb": 1}, r"x.pth holds the key 'a\nb', which is no name"),
        ({"a" * 501: 1}, "x.pth holds the key 'aaaaaaa"),
        ({None: 1}, "x.pth holds the key None, which is no name"),
    ],
)
def test_what_are_no_names(stored, words):
    assert words in told(named_values, stored, "x.pth")


@pytest.mark.parametrize("depth", [4, 5000])
def test_nested_too_deep(depth):
    stored = {"a": 1}
    for _ in range(depth):
        stored = {"model": stored}
    assert told(named_values, stored, "x.pth").startswith("x.pth nests its tensors too deep")


# values


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_converted(dtype):
    wanted = nn.BatchNorm1d(3).state_dict()
    state = {name: value.to(dtype) for name, value in wanted.items()}
    state["weight"] = torch.tensor([0.1, 2.0, -3.0]).to(dtype)
    fit = fit_tensors(state, {name: name for name in wanted}, wanted)
    assert [v.dtype for v in fit.tensors.values()] == [v.dtype for v in wanted.values()]
    assert torch.equal(fit.tensors["weight"], state["weight"].float())
    assert [fit.missing, fit.unknown, fit.misshapen, fit.broken] == [[], [], [], []]


@pytest.mark.parametrize("value", [2.5, NAN, float("inf"), True])
def test_a_counter_counts(value):
    wanted = {"n": torch.tensor(0)}
    (fault,) = fit_tensors({"bn.n": torch.tensor(value)}, {"n": "bn.n"}, wanted).broken
    assert fault.startswith("bn.n ")


def test_repeated_numbers_of_the_right_shape_are_weights():
    wanted = {"w": torch.zeros(4, 5)}
    stored = torch.tensor([[2.0]]).expand(4, 5)
    assert torch.equal(fit_tensors({"w": stored}, {"w": "w"}, wanted).tensors["w"], stored)


# ways in


@pytest.mark.parametrize("case", ODD_FOR_A_NETWORK)
@pytest.mark.parametrize("prefix", ["", "module.", "student."])
def test_model_weights(tmp_path, case, prefix):
    network = nn.Linear(3, 2)
    build, words = ODD_FOR_A_NETWORK[case]
    state = {prefix + name: value for name, value in network.state_dict().items()}
    state[f"{prefix}weight"] = build((2, 3))
    torch.save({"model": state}, tmp_path / "odd.pth")
    before = network.weight.clone()
    line = told(load_student_weights, network, str(tmp_path / "odd.pth"))
    assert line.startswith(f"MODEL.WEIGHTS {tmp_path}/odd.pth")
    assert re.search(f"{prefix}weight {words}", line)
    assert torch.equal(network.weight, before)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_prefixes_and_wrappers_of_weights(tmp_path, prefix, wrapper):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    state = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save({wrapper: state} if wrapper else state, tmp_path / "w.pth")
    assert load_student_weights(target, str(tmp_path / "w.pth")) is None
    assert torch.equal(target.weight, source.weight)


def test_a_prefix_is_one_of_all_keys(tmp_path):
    """Else two tensors may have one name."""
    state = nn.Linear(3, 2).state_dict()
    torch.save({**state, "module.weight": torch.zeros(2, 3)}, tmp_path / "w.pth")
    line = told(load_student_weights, nn.Linear(3, 2), str(tmp_path / "w.pth"))
    assert line.endswith("module.weight is unknown here")


@pytest.mark.parametrize("steps", ["7", 7.0, -1, None, True, torch.tensor(7), [7]])
def test_steps_that_are_no_count_are_not_known(tmp_path, steps):
    network = nn.Linear(3, 2)
    torch.save({"model": network.state_dict(), "iteration": steps}, tmp_path / "w.pth")
    assert load_student_weights(network, str(tmp_path / "w.pth")) is None


def test_the_teacher_of_a_checkpoint(tmp_path):
    networks = {"student.": nn.Linear(3, 2), "teacher.network.": nn.Linear(3, 2)}
    state = {p + name: v for p, net in networks.items() for name, v in net.state_dict().items()}
    state["teacher.network.weight"][0, 0] = NAN
    torch.save({"model": state, "iteration": 5}, tmp_path / "both.pth")
    target = nn.Linear(3, 2)
    assert load_student_weights(target, str(tmp_path / "both.pth")) == 5  # the student is whole
    line = told(load_student_weights, target, str(tmp_path / "both.pth"), part="teacher")
    assert line.endswith("both.pth: teacher.network.weight holds NaN or infinity")
    state["teacher.network.weight"][0, 0] = 4.0
    torch.save({"model": state, "iteration": 5}, tmp_path / "both.pth")
    assert load_student_weights(target, str(tmp_path / "both.pth"), part="teacher") == 5
    assert torch.equal(target.weight, state["teacher.network.weight"])
    torch.save(
        {"model": {f"student.{k}": v for k, v in networks["student."].state_dict().items()}},
        tmp_path / "alone.pth",
    )
    line = told(load_student_weights, target, str(tmp_path / "alone.pth"), part="teacher")
    assert "alone.pth: it has no teacher: no key begins with 'teacher.network.'" in line
    line = told(load_student_weights, target, str(tmp_path / "alone.pth"), part="ema")
    assert line == "MODEL.WEIGHTS_PART is 'ema'; choose from student, teacher"


@pytest.fixture(scope="module")
def mit():
    return MixTransformer("b0")


@pytest.mark.parametrize(
    "case", ["number", "nothing", "sparse", "complex", "NaN", "bits", "scalar"]
)
def test_mit_weights(tmp_path, mit, case):
    build, words = ODD_FOR_A_NETWORK[case]
    key = "block1.0.attn.proj.weight"
    torch.save({"state_dict": {**mit.state_dict(), key: build((32, 32))}}, tmp_path / "mit.pth")
    line = told(load_mit_weights, mit, str(tmp_path / "mit.pth"))
    assert line.startswith(f"MODEL.MIT.WEIGHTS {tmp_path}/mit.pth")
    assert re.search(f"{key} {words}", line)


@pytest.mark.parametrize("case", ["number", "text", "quantised", "meta", "infinity", "bytes"])
def test_timm_weights(tmp_path, case):
    build, words = ODD_FOR_A_NETWORK[case]
    state = TimmBackbone("test_efficientnet").encoder.state_dict()
    key = next(name for name, value in state.items() if value.ndim == 4)
    torch.save({**state, key: build(tuple(state[key].shape))}, tmp_path / "timm.pth")
    line = told(TimmBackbone, "test_efficientnet", weights=str(tmp_path / "timm.pth"))
    assert line.startswith(f"MODEL.TIMM.WEIGHTS {tmp_path}/timm.pth")
    assert re.search(f"{key} {words}", line)


@pytest.mark.parametrize("content", [{"model": 3}, {"state_dict": None}, {2: 3}, {}])
def test_no_names_in_any_way_in(tmp_path, mit, content):
    torch.save(content, tmp_path / "no.pth")
    file = str(tmp_path / "no.pth")
    for call in (
        lambda: load_student_weights(nn.Linear(3, 2), file),
        lambda: load_mit_weights(mit, file),
        lambda: TimmBackbone("test_efficientnet", weights=file),
    ):
        assert "no.pth holds " in told(call)


def test_safetensors_of_another_type(tmp_path):
    network = nn.Linear(3, 2)
    state = {name: value.bfloat16() for name, value in network.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    load_student_weights(network, str(tmp_path / "w.safetensors"))
    assert torch.equal(network.weight, state["weight"].float())
    save_file({**state, "bias": broken((2,), NAN).half()}, tmp_path / "w.safetensors")
    line = told(load_student_weights, network, str(tmp_path / "w.safetensors"))
    assert line.endswith("w.safetensors: bias holds NaN or infinity")


@pytest.mark.parametrize("part", ["student", "mit"])
@pytest.mark.parametrize("case", ODD)
def test_the_converter(load_tool, tmp_path, capsys, mit, part, case):
    build, words = ODD[case]
    before = "module." if part == "mit" else "student.backbone."
    state = {before + name: value for name, value in mit.state_dict().items()}
    key = f"{before}block1.0.attn.proj.weight"
    torch.save({"model": {**state, key: build((32, 32))}}, tmp_path / "in.pth")
    arguments = [str(tmp_path / "in.pth"), str(tmp_path / "out.pth"), "--part", part]
    tool = load_tool("convert_weights")
    with pytest.raises(SystemExit) as ended:
        tool.main(arguments)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/in.pth: ")
    assert re.search(f"{key} {words}", line)
    assert not (tmp_path / "out.pth").exists()
