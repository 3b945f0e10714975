"""Bad input, the choice of the backend, and what the package may import."""

import importlib
import logging
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import copt_kernels
import pytest
import torch
from copt_kernels.class_covariance import checks

FEATURES = torch.zeros(2, 3, 4, 5)
LABELS = torch.zeros(2, 8, 9, dtype=torch.int64)
MEANS, MASS, TEXT, BANK = torch.zeros(4, 3), torch.ones(4), torch.zeros(4, 4), torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (FEATURES[0], LABELS, "features must be a float (N, C, h, w), got features (3, 4, 5)"),
        (FEATURES.long(), LABELS, "features must be a float"),
        (FEATURES, LABELS.float(), "labels must be uint8, int32 or int64"),
        (FEATURES, LABELS[0], "labels must be (N, H, W) or (N, 1, H, W)"),
        (FEATURES, LABELS[:, None].expand(-1, 3, -1, -1), "labels (2, 3, 8, 9) int64"),
        (FEATURES, LABELS[:1], "share N and device, got features (2, 3, 4, 5) float32 on cpu"),
        (FEATURES, LABELS.to("meta"), "share N and device"),
        (FEATURES[:, :0], LABELS, "only the batch may be empty"),
        (FEATURES, LABELS[:, :0], "only the batch may be empty"),
    ],
)
def test_class_means_names_what_does_not_fit(features, labels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        copt_kernels.class_means(features, labels, 3)


def test_class_means_names_wrong_options():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        copt_kernels.class_means(FEATURES, LABELS, 0)
    with pytest.raises(ValueError, match=r"unknown mode 'cubic'.*nearest, area, bilinear"):
        copt_kernels.class_means(FEATURES, LABELS, 3, mode="cubic")


@pytest.mark.parametrize("number", [2.0, "3", None, True, 2**63])
def test_class_means_names_what_is_no_whole_number(number):
    for name in ("num_classes", "ignore_index"):
        options = {"num_classes": 3, "ignore_index": 255, name: number}
        with pytest.raises(ValueError, match=f"{name} must be a whole number .*, got {number!r}"):
            copt_kernels.class_means(FEATURES, LABELS, **options)


def test_labels_out_of_range_raise_on_request_only():
    labels = LABELS.clone()
    labels[0, 0, :3] = torch.tensor([7, -2, 255])
    _, mass = copt_kernels.class_means(FEATURES, labels, 3)
    assert mass[0] == 2 * 4 * 5 - 2  # columns 0 and 2 of the first row are sampled
    with pytest.raises(ValueError, match=r"\[0, 3\) or be 255, found \[-2, 7\]"):
        copt_kernels.class_means(FEATURES, labels, 3, check_labels=True)
    copt_kernels.class_means(FEATURES, LABELS + 255, 3, check_labels=True)
    copt_kernels.class_means(FEATURES, (LABELS + 2).byte(), 3, check_labels=True)


@pytest.mark.parametrize("wrong", [None, [1.0], TEXT.numpy(), TEXT.to_sparse()])
def test_what_is_no_dense_tensor_is_named(wrong):
    of_loss = copt_kernels.covariance_loss
    for name, call in {
        "features": lambda: copt_kernels.class_means(wrong, LABELS, 3),
        "labels": lambda: copt_kernels.class_sums(FEATURES, wrong, 3),
        "text_cov": lambda: copt_kernels.pooled_covariance_loss(FEATURES, LABELS, wrong),
        "means": lambda: of_loss(wrong, MASS, TEXT),
        "vectors": lambda: copt_kernels.class_covariance(wrong),
    }.items():
        with pytest.raises(ValueError, match=f"{name} must be a .*tensor, got") as error:
            call()
        assert "\n" not in str(error.value)
    if wrong is not None:  # which is no bank
        with pytest.raises(ValueError, match=r"bank must be a .*tensor, got"):
            of_loss(MEANS, MASS, TEXT, wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MEANS[0], MASS, TEXT), "means must be (K >= 1, C >= 2), got means (3,)"),
        ((MEANS[:, :1], MASS, TEXT), "means must be (K >= 1, C >= 2)"),
        ((MEANS.half(), MASS, TEXT), "means must be float32 or float64"),
        ((MEANS, MASS[:2], TEXT), "mass must be (4,), got means (4, 3) float32 on cpu, mass (2,)"),
        ((MEANS, MASS, TEXT[:3]), "text_cov must be (4, 4)"),
        ((MEANS, MASS, TEXT, BANK[:, :2]), "bank must be (4, 3)"),
        ((MEANS, MASS.double(), TEXT), "mass must be float32, on the device of means"),
        ((MEANS, MASS, TEXT, BANK.to("meta")), "bank must be float32, on the device of means"),
    ],
)
def test_covariance_loss_names_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        copt_kernels.covariance_loss(*arguments)


def test_covariance_loss_names_wrong_options():
    with pytest.raises(ValueError, match="decay must lie in"):
        copt_kernels.covariance_loss(MEANS, MASS, TEXT, BANK, decay=1.5)
    with pytest.raises(ValueError, match="unknown metric 'l3'"):
        copt_kernels.covariance_loss(MEANS, MASS, TEXT, metric="l3")


@pytest.mark.parametrize("vectors", [torch.zeros(3), torch.zeros(3, 1), TEXT.long()])
def test_class_covariance_names_what_does_not_fit(vectors):
    with pytest.raises(ValueError, match=re.escape(f"got {tuple(vectors.shape)}")):
        copt_kernels.class_covariance(vectors)


@pytest.mark.parametrize(
    ("backend", "message"), [("triton", "needs CUDA tensors, got cpu"), ("cuda", "unknown backend")]
)
def test_unusable_backends_are_refused_by_argument_and_by_variable(backend, message, monkeypatch):
    with pytest.raises(ValueError, match=message):
        copt_kernels.class_means(FEATURES, LABELS, 3, backend=backend)
    with pytest.raises(ValueError, match=message):
        copt_kernels.covariance_loss(MEANS, MASS, TEXT, backend=backend)
    monkeypatch.setenv("COPT_KERNELS_BACKEND", backend)
    with pytest.raises(ValueError, match=message):
        copt_kernels.class_means(FEATURES, LABELS, 3)
    copt_kernels.class_means(FEATURES, LABELS, 3, backend="torch")  # the argument wins


OLD = "Triton 3.2.0 is too old for these kernels, 3.3 (with torch 2.7) is needed"


class Cuda(SimpleNamespace):
    """As much of a tensor on a GPU as the choice of the backend looks at."""

    is_cuda, dtype, device = True, torch.float32, torch.device("cuda")


def install_triton(monkeypatch, version):
    """A package of that name and version, whether or not there is one."""
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(__version__=version))


def test_too_old_a_triton_is_left_alone_with_one_line(monkeypatch, caplog):
    install_triton(monkeypatch, "3.3.0")
    package = importlib.import_module("copt_kernels.class_covariance")
    assert package._backend(None, Cuda(), 5, 64) == "triton"
    package._warn_once.cache_clear()
    install_triton(monkeypatch, "3.2.0")
    assert [package._backend(None, Cuda(), 5, 64) for _ in range(3)] == ["torch"] * 3
    lines = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert lines == [f"class covariance runs in PyTorch: {OLD}"]
    copt_kernels.class_means(FEATURES, LABELS, 3)  # the CPU does not ask
    for tensors in ((FEATURES, LABELS, 3), (FEATURES.double(), LABELS, 3)):
        with pytest.raises(ValueError, match=re.escape(f'backend "triton": {OLD}')):
            copt_kernels.class_means(*tensors, backend="triton")


@pytest.mark.parametrize(
    ("version", "usable"),
    [("3.3.0", True), ("3.10.1", True), ("4.0.0+git1234", True), ("3.2.0", False), ("2.3", False)],
)
def test_versions_of_triton(version, usable, monkeypatch):
    install_triton(monkeypatch, version)
    assert (checks.triton_problem() == "") == usable


def test_without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)  # an import of it fails
    with pytest.raises(ValueError, match='backend "triton": the package triton is not installed'):
        copt_kernels.class_means(FEATURES, LABELS, 3, backend="triton")
    copt_kernels.class_means(FEATURES, LABELS, 3)


def test_choice_is_logged_once(caplog):
    # by path, as the function of that name hides the package's attribute
    importlib.import_module("copt_kernels.class_covariance")._log_once.cache_clear()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            copt_kernels.class_means(FEATURES, LABELS, 3)
    assert [record.getMessage() for record in caplog.records] == [
        "class covariance on cpu: torch backend"
    ]


def test_imports_neither_detectron2_nor_the_main_package():
    code = "import sys, copt_kernels; print({'copt_d2', 'detectron2'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_second_import_under_the_folders_name_does_no_harm():
    """transformers looks for a package `kernels`, and finds this folder from within a checkout."""
    code = "import copt_kernels, kernels; print(kernels.class_means is copt_kernels.class_means)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout.strip() == "False"
