import json
from pathlib import Path

import pytest
from command_line import ROOT

from copt_d2.errors import InputError

CONFIG = str(ROOT / "configs" / "camvid_day2dusk.yaml")
# mIoU at dusk and seconds a step by what a run trains with
SOURCE, MIXED, FULL = 40.0, 50.0, 60.0


@pytest.fixture
def tool(load_tool):
    return load_tool("benchmark_ladder")


@pytest.fixture
def runs(tool, monkeypatch):
    """Overrides of every run; a run itself is replaced by its result."""
    called = []

    def run_once(config_file: str, overrides: list[str], folder: Path, jobs: int) -> dict:
        called.append(overrides)
        options = dict(zip(overrides[::2], overrides[1::2], strict=True))
        phases = options.get("MODEL.UDA.PHASES")
        dusk = {"('source',)": SOURCE, "('source','mixed')": MIXED, None: FULL}[phases]
        dusk += float(options["SEED"])
        folder.mkdir(parents=True, exist_ok=True)
        step = 0.2 if phases == "('source',)" else 0.5
        entries = [{"iteration": 19, "time": step}, {"iteration": 99, "time": step}]
        (folder / "metrics.json").write_text("\n".join(map(json.dumps, entries)))
        scores = {"camvid_dusk_val": {"mIoU": dusk}, "camvid_day_val": {"mIoU": 65.0}}
        return {"seconds": 300 * step, "scores": scores}

    monkeypatch.setattr(tool, "run_once", run_once)
    return called


def ladder(tool, folder, *more):
    tool.main(["--config-file", CONFIG, "--out", str(folder), "--seeds", "0,2", *more])


def test_table_and_cache(tool, runs, tmp_path, capsys):
    ladder(tool, tmp_path, "--jobs", "2", "SOLVER.MAX_ITER", "100")
    assert len(runs) == 16
    # the full method takes 2.5 times as long as the fair baseline
    assert sum("250" in overrides for overrides in runs) == 2
    rows = capsys.readouterr().out.splitlines()
    cells = {row.split("|")[1].strip(): row.split("|")[2:-1] for row in rows if row[:1] == "|"}
    cells = {name: [cell.strip() for cell in row] for name, row in cells.items()}
    assert cells["+ CoPT"] == ["61.0 ± 1.0", "65.0 ± 0.0", "150", "2"]
    assert cells["+ self-training"] == ["51.0 ± 1.0", "65.0 ± 0.0", "150", "2"]
    assert cells["oracle"] == ["41.0 ± 1.0", "65.0 ± 0.0", "60", "2"]
    assert "mean 20.0, smallest 20.0 over 2 seeds" in rows[-1]

    del runs[:]
    ladder(tool, tmp_path, "SOLVER.MAX_ITER", "100")
    assert runs == []
    (tmp_path / "results" / "oracle_seed2.json").unlink()
    ladder(tool, tmp_path, "SOLVER.MAX_ITER", "100")
    assert len(runs) == 1
    assert "camvid_dusk_train_labeled" in " ".join(runs[0])
    ladder(tool, tmp_path, "SOLVER.MAX_ITER", "50")
    assert len(runs) == 17  # another recipe: nothing kept counts


def test_printing_runs_nothing_and_marks_what_is_missing(tool, runs, tmp_path, capsys):
    ladder(tool, tmp_path, "--print-only")
    assert runs == []
    row = next(row for row in capsys.readouterr().out.splitlines() if "oracle" in row)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["-", "-", "-", "-"]


def test_a_failed_run_ends_the_ladder_with_its_reason(tool, monkeypatch, tmp_path, capsys):
    def fail(*arguments):
        raise InputError("a run of the ladder failed: no space left")

    monkeypatch.setattr(tool, "run_once", fail)
    with pytest.raises(SystemExit):
        ladder(tool, tmp_path)
    assert capsys.readouterr().err == "error: a run of the ladder failed: no space left\n"
