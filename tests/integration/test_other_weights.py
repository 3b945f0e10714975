"""Evaluations in the folder of a run: its own record stays, and the report tells them apart."""

import json
import shutil

import pytest
import torch

pytestmark = pytest.mark.integration

NAME = "camvid_day_val"


def record(folder):
    return json.loads((folder / f"{NAME}.json").read_text())


def others(run):
    """Records beside the run's own, by the first two parts of their folder's name."""
    found = (run / "evaluation" / "other").glob(f"*/{NAME}.json")
    return {path.parent.name.rsplit("_", 1)[0]: record(path.parent) for path in found}


@pytest.fixture
def evaluate(train, output):
    """Evaluates a file in the run's folder."""

    def run(weights=None, **changes):
        given = {} if weights is None else {"MODEL__WEIGHTS": weights}
        train(output, "--eval-only", **given, **changes)

    return run


@pytest.fixture
def foreign(output, tmp_path):
    """Weights that the run did not make."""
    state = torch.load(output / "model_final.pth", weights_only=True)
    weights = {k: v + 1 for k, v in state["model"].items() if k.startswith("student.")}
    path = tmp_path / "elsewhere.pth"
    torch.save({"model": weights, "iteration": 9}, path)
    return path


def files(run):
    """The run's own files and what is in them."""
    kept = [*(run / "evaluation").glob("*.*"), *(run / "export").rglob("*.png")]
    return {path: path.read_bytes() for path in kept}


def test_the_record_names_its_weights(output, evaluate, four_steps):
    own = record(output / "evaluation")
    weights = own["weights"]
    assert set(weights) == {"path", "digest", "part"}
    assert weights["path"] == own["checkpoint"] == str(four_steps / "model_0000004.pth")
    assert (weights["part"], own["iteration"]) == ("student", 4)
    evaluate()  # the newest checkpoint: the same weights under another path
    again = record(output / "evaluation")
    assert again["weights"]["digest"] == weights["digest"]
    assert again["weights"]["path"] == str(output / "model_0000004.pth")
    assert again["IoU"] == own["IoU"]
    evaluate(output / "model_final.pth")
    assert record(output / "evaluation")["weights"]["digest"] == weights["digest"]
    assert not (output / "evaluation" / "other").exists()


def test_other_weights_go_to_a_place_of_their_own(output, evaluate, foreign, capsys, load_tool):
    evaluate(TEST__EXPORT="('train_ids',)", TEST__PICTURES=1)
    before = files(output)
    assert len(before) > 3
    capsys.readouterr()
    evaluate(foreign, TEST__EXPORT="('train_ids',)", TEST__PICTURES=1)
    said = capsys.readouterr().out
    assert f"{foreign} is not the newest checkpoint of the run" in said
    evaluate(output / "model_0000003.pth")
    assert files(output) == before
    found = others(output)
    assert set(found) == {"elsewhere_student", "model_0000003_student"}
    assert found["elsewhere_student"]["weights"]["path"] == str(foreign)
    assert found["model_0000003_student"]["iteration"] == 3
    own = record(output / "evaluation")
    digests = {r["weights"]["digest"] for r in (own, *found.values())}
    assert len(digests) == 3
    (place,) = (output / "evaluation" / "other").glob("elsewhere*")
    assert str(place) in said
    assert (place / f"{NAME}.png").is_file()
    assert len(list((place / "export" / NAME / "train_ids").glob("*.png"))) == own["images"]
    load_tool("report").main([str(output), "--out", str(output / "report.md")])
    text = (output / "report.md").read_text()
    runs, _, foreign_part = text.partition("## Evaluations that are not their run's result")
    assert "elsewhere" not in runs
    assert f"| {foreign} " in foreign_part
    assert f"{found['elsewhere_student']['mIoU']:.1f} |" in foreign_part
    assert f"{own['mIoU']:.1f} |" in runs


def test_copies_do_not_take_the_place_of_the_run(output, evaluate, foreign, tmp_path):
    before = files(output)
    shutil.copy(output / "model_final.pth", tmp_path / "copy.pth")
    evaluate(tmp_path / "copy.pth")  # the same weights, but nobody knows whose file it is
    assert set(others(output)) == {"copy_student"}
    copied = others(output)["copy_student"]
    assert copied["weights"]["digest"] == record(output / "evaluation")["weights"]["digest"]
    state = torch.load(foreign, weights_only=True)
    torch.save({**state, "iteration": 4}, output / "model_0000004.pth")
    evaluate()
    torch.save({**state, "iteration": 4}, output / "model_final.pth")
    (output / "model_0000004.pth").unlink()
    (output / "model_0000003.pth").unlink()
    evaluate(output / "model_final.pth")
    assert set(others(output)) == {"copy_student", "model_0000004_student", "model_final_student"}
    assert files(output) == before


def test_a_run_of_which_the_last_checkpoint_is_left(output, evaluate):
    for file in output.glob("model_0*"):
        file.unlink()
    evaluate(output / "model_final.pth")
    assert record(output / "evaluation")["weights"]["path"] == str(output / "model_final.pth")
    assert not (output / "evaluation" / "other").exists()


def test_the_same_weights_with_other_settings(output, evaluate):
    before = files(output)
    evaluate(TEST__CLASSES="[0, 1]")
    evaluate(TEST__WINDOW="(64, 64)", TEST__STRIDE="(32, 32)")
    assert files(output) == before
    assert len(list((output / "evaluation" / "other").iterdir())) == 2
    evaluate(DATASETS__TEST="('camvid_dusk_val',)")  # another set is no other setting
    assert (output / "evaluation" / "camvid_dusk_val.json").is_file()


def test_a_folder_of_evaluations_holds_those_of_the_same_weights(
    train, output, foreign, tmp_path, capsys
):
    folder = tmp_path / "scores"
    train(folder, "--eval-only", MODEL__WEIGHTS=foreign)
    first = record(folder / "evaluation")
    train(folder, "--eval-only", MODEL__WEIGHTS=foreign)
    assert not (folder / "previous_1").exists()
    train(folder, "--eval-only", MODEL__WEIGHTS=output / "model_final.pth")
    assert f"moved to {folder}/previous_1" in capsys.readouterr().out
    assert record(folder / "previous_1" / "evaluation") == first
    assert record(folder / "evaluation")["weights"]["path"] == str(output / "model_final.pth")
    train(folder, SOLVER__MAX_ITER=1)  # a training takes no other's record over
    assert (folder / "previous_2" / "evaluation" / f"{NAME}.json").is_file()


def test_a_moved_run_is_still_its_own(train, output, tmp_path):
    moved = tmp_path / "archive"
    shutil.move(output, moved)
    before = record(moved / "evaluation")
    train(moved, "--eval-only")
    assert record(moved / "evaluation")["weights"]["digest"] == before["weights"]["digest"]
    assert not (moved / "evaluation" / "other").exists()
