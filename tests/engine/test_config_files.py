import re

import pytest

from copt_d2.engine import chosen_values, load_config
from copt_d2.engine.config_files import config_changes
from copt_d2.errors import InputError


@pytest.fixture
def write(tmp_path):
    """Writes a YAML file and returns its path as text."""

    def file(text, name="config.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return file


def message(file, *overrides):
    """What is said about a config that is wrong, which must be one line."""
    with pytest.raises(InputError) as raised:
        load_config(file, overrides)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_bases_file_and_overrides_in_this_order(write):
    write("SEED: 1\nSOLVER: {MAX_ITER: 10, BASE_LR: 0.5}\n", "one.yaml")
    write("SOLVER: {MAX_ITER: 20}\n", "two.yaml")
    file = write("_BASE_: [one.yaml, two.yaml]\nSOLVER: {WARMUP_ITERS: 3}\n")
    cfg = load_config(file, ["SOLVER.WARMUP_ITERS", "4", "TEST.WINDOW", "(5, 6)"])
    solver = cfg.SOLVER
    assert (cfg.SEED, solver.MAX_ITER, solver.BASE_LR, solver.WARMUP_ITERS) == (1, 20, 0.5, 4)
    assert cfg.TEST.WINDOW == (5, 6)


@pytest.mark.parametrize(
    ("yaml_text", "key", "nearest"),
    [
        ("MODEL: {UDA: {PHASE: [source]}}", "MODEL.UDA.PHASE", "MODEL.UDA.PHASES"),
        ("SOLVER: {MAXITER: 3}", "SOLVER.MAXITER", "SOLVER.MAX_ITER"),
        ("MODEL: {COPTS: {DECAY: 0.1}}", "MODEL.COPTS", "MODEL.COPT"),
    ],
)
def test_unknown_key_in_a_file(write, yaml_text, key, nearest):
    file = write(yaml_text)
    assert message(file) == f"{file}: Non-existent config key: {key}; did you mean {nearest}?"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("SOLVER.BASE_LRR", "SOLVER.BASE_LR"), ("SEED.X", "SEED"), ("MODEL.CPT.DECAY", "COPT.DECAY")],
)
def test_unknown_key_on_the_command_line(write, key, nearest):
    text = message(write("SEED: 0"), key, "1")
    assert text.startswith(f"command line, {key}: Non-existent config key: {key}; did you mean ")
    assert text.endswith(f"{nearest}?")


def test_value_of_another_type(write):
    text = message(write("SOLVER: {MAX_ITER: soon}"))
    assert re.search(r"Type mismatch .*'?str'?.*SOLVER.MAX_ITER", text)
    text = message(write("SEED: 0"), "SOLVER.MAX_ITER", "soon")
    assert text.startswith("command line, SOLVER.MAX_ITER: Type mismatch")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch {}']", "!unheard_of 1"])
@pytest.mark.parametrize("in_base", [False, True])
def test_tags_are_refused_not_executed(write, tmp_path, tag, in_base):
    trace = tmp_path / "trace"
    file = write("SEED: " + tag.format(trace) + "\n")
    if in_base:
        file = write("_BASE_: config.yaml\n", "outer.yaml")
    text = message(file)
    inner = tmp_path / "config.yaml"  # which has the tag, also where another file builds on it
    assert text.startswith(f"{inner}, line 1: a config is data, this YAML tag is not allowed: ")
    assert tag.split()[0].lstrip("!").removeprefix("python/") in text
    assert not trace.exists()


def test_broken_yaml_names_file_and_line(write):
    file = write("SEED: 1\nMODEL: [1, 2\n")
    text = message(file)
    assert text.startswith(f"{file} is not valid YAML")
    assert "line 3" in text


@pytest.mark.parametrize("content", ["", "- 1\n- 2\n", "just words\n"])
def test_yaml_that_is_no_table(write, content):
    file = write(content)
    assert message(file) == f"{file} or a _BASE_ of it is not a table of config keys"


def test_binary_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert message(str(path)).startswith(str(path))


def test_missing_files(write, tmp_path):
    needed = "name a YAML file, or a config of the package, say gta2cs"
    assert message("") == f"--config-file is missing: {needed}"
    assert message("no.yaml") == "no such config file: no.yaml"
    assert message(str(tmp_path)) == f"no such config file: {tmp_path}"
    file = write("_BASE_: gone.yaml\n")
    text = message(file)
    assert text.startswith(f"{file}: its _BASE_ cannot be read")
    assert "gone.yaml" in text


def test_base_that_leads_back(write):
    file = write("_BASE_: config.yaml\n")
    assert message(file) == f"{file}: its _BASE_ leads back to itself"


def test_override_without_value(write):
    text = message(write("SEED: 0"), "SEED", "1", "--resume")
    assert text == "overrides are KEY VALUE pairs, '--resume' has no value"


def test_device(write, monkeypatch):
    file = write("SEED: 0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert load_config(file).MODEL.DEVICE == "cpu"
    assert load_config(file, ["MODEL.DEVICE", "cpu"]).MODEL.DEVICE == "cpu"
    assert message(file, "MODEL.DEVICE", "gpu").startswith("MODEL.DEVICE 'gpu' cannot be used: ")
    assert message(file, "MODEL.DEVICE", "meta").startswith("MODEL.DEVICE 'meta' cannot be used: ")


def test_the_whole_config_that_a_run_has_written(write):
    cfg = load_config(write("SOLVER: {MAX_ITER: 10}\nTEST: {WINDOW: [5, 6]}\n"))
    again = load_config(write(cfg.dump()))
    assert config_changes(cfg.dump(), again) == []
    assert chosen_values(again) == chosen_values(cfg)


def test_chosen_values_are_those_that_differ_from_the_defaults(write):
    file = write("SOLVER: {MAX_ITER: 10, POLY_POWER: 1.0}\nTEST: {WINDOW: [5, 6]}\n")
    chosen = chosen_values(load_config(file))
    chosen.pop("MODEL.DEVICE", None)  # of this machine
    assert chosen == {"SOLVER.MAX_ITER": 10, "TEST.WINDOW": [5, 6]}


def test_config_changes_leave_out_what_decides_nothing_and_new_keys(write):
    cfg = load_config(write("SOLVER: {MAX_ITER: 10}\n"))
    earlier = cfg.clone()
    del earlier.MODEL["MIT"]  # a key that a later version has added
    cfg.merge_from_list(["SOLVER.BASE_LR", 0.5, "OUTPUT_DIR", "x", "TEST.PICTURES", 3])
    assert config_changes(earlier.dump(), cfg) == ["SOLVER.BASE_LR 6e-05 -> 0.5"]


@pytest.mark.parametrize(
    ("yaml_text", "said"),
    [
        ("MODEL:\n", "MODEL is None; it must be a table of keys"),
        ("MODEL: {UDA: [source]}", "MODEL.UDA is ['source']; it must be a table of keys"),
        ("MODEL: {1: 2}", "the key MODEL.1 is no text"),
        ("VERSION: 1", "VERSION is 1; this detectron2 has 2"),
        ("OUTPUT_DIR: 2024-01-31", "OUTPUT_DIR is datetime.date(2024, 1, 31); it must be the path"),
        ("TEST: {CLASSES: !!set {1, 2}}", "TEST.CLASSES is {1, 2}; it must be a list of train ids"),
        (
            "SOLVER: {BASE_LR: 1}",
            "Type mismatch (float vs. int): SOLVER.BASE_LR is 1; it must be a number, 0 or more, "
            "written with a point: 1.0",
        ),
        (
            "SOLVER: {MAX_ITER: {A: 1}}",
            "Type mismatch (int vs. CfgNode): SOLVER.MAX_ITER is A: 1; it must be a whole number",
        ),
        ("DATASETS: {TRAIN: gta}", "Type mismatch (tuple vs. str): DATASETS.TRAIN is gta; it must"),
    ],
)
def test_values_that_cannot_be_merged(write, yaml_text, said):
    file = write(yaml_text)
    assert message(file).startswith(f"{file}: {said}")


@pytest.mark.parametrize("value", ["('source')", "source", "{'source': 1}", "None", "(1,)"])
def test_a_list_of_names_must_be_one(write, value):
    assert "MODEL.UDA.PHASES is " in message(write("SEED: 0"), "MODEL.UDA.PHASES", value)


def test_names_without_quotes_on_the_command_line(write):
    text = message(write("SEED: 0"), "DATASETS.TEST", "(camvid_day_val,)")
    assert text.endswith("on a command line its texts need quotes: \"['a', 'b']\"")


def test_a_long_value_is_cut(write):
    text = message(write(f"SOLVER: {{BASE_LR: {'x' * 5000}}}"))
    assert len(text) < 400
    text = message(write("SEED: 0"), "SEED", "(" * 5000)
    assert len(text) < 400


@pytest.mark.parametrize("in_base", [False, True])
def test_a_key_that_stands_twice(write, tmp_path, in_base):
    file = write("MODEL:\n  UDA: {MASK_RATIO: 0.5}\nSEED: 1\nMODEL:\n  DEVICE: cpu\n")
    if in_base:
        file = write("_BASE_: config.yaml\n", "outer.yaml")
    assert message(file) == f"{tmp_path / 'config.yaml'}, line 4: MODEL stands twice; join them"
    write("TEST: {PICTURES: 1, PICTURES: 2}\n")
    assert message(file).endswith("line 1: PICTURES stands twice; join them")


def test_values_are_looked_at_after_merging(write):
    file = write("MODEL: {PIXEL_MEAN: [127.0]}\n")
    assert message(file).startswith("MODEL.PIXEL_MEAN is [127.0]; it must be a list of 3 finite")
    load_config(file, ["MODEL.PIXEL_MEAN", "[1.0, 2.0, 3.0]"])
    assert message(file, "MODEL.PIXEL_MEAN", "[1.0]").startswith("MODEL.PIXEL_MEAN is [1.0]")
