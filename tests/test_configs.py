"""Every YAML file merges, and every key of ours is read somewhere.

How a reader is found, in the syntax trees of copt_d2/ (without config.py) and tools/: an attribute
chain below a name or attribute called ``cfg`` reads its dotted key; a variable assigned from such a
chain stands for it within its function; ``cfg.INPUT[key]`` reads the keys below ``INPUT`` whose
last part occurs as a string in the same file.
"""

import ast
from pathlib import Path

import pytest
from detectron2.config import CfgNode, get_cfg

from copt_d2 import add_copt_config
from copt_d2.engine import load_config
from copt_d2.engine.config_files import config_changes
from copt_d2.engine.config_names import config_names

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = [ROOT / "configs" / f"{name}.yaml" for name in config_names()]
OWN_DATA = ("own_data", "own_data_gpu")  # whose data sets a description names
BENCHMARKS = [p for p in CONFIGS if p.parent.name == "configs" and p.stem not in OWN_DATA]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def leaves(node, prefix=""):
    """Dotted names of all values of a config."""
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def our_keys():
    ours, stock = get_cfg(), set(leaves(get_cfg()))
    add_copt_config(ours)
    return sorted(set(leaves(ours)) - stock)


def dotted(node, aliases):
    """The key below ``cfg`` that an expression stands for: "" = the config, ``None`` = none."""
    if isinstance(node, ast.Name):
        return "" if node.id == "cfg" else aliases.get(node.id)
    if isinstance(node, ast.Attribute):
        if node.attr == "cfg":
            return ""
        above = dotted(node.value, aliases)
        return None if above is None else f"{above}.{node.attr}".lstrip(".")
    return None


def aliases_of(function):
    """Variables of a function that stand for a part of the config, in the order of the lines."""
    found = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            key = dotted(node.value, found)
            if key:
                found[node.targets[0].id] = key
    return found


def keys_read(source):
    """(keys, sections read by subscript) of one file, and all its strings."""
    tree = ast.parse(source)
    keys, sections = set(), set()
    for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))]:
        aliases = aliases_of(scope) if scope is not tree else {}
        for node in ast.walk(scope):
            # what is assigned to is written, not read
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                keys.add(dotted(node, aliases))
            elif isinstance(node, ast.Subscript):
                sections.add(dotted(node.value, aliases))
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    return keys - {None}, sections - {None, ""}, strings


def is_read(key, files):
    section, _, tail = key.rpartition(".")
    return any(
        key in keys or (section in sections and tail in strings)
        for keys, sections, strings in files
    )


@pytest.fixture(scope="module")
def readers():
    paths = [*(ROOT / "copt_d2").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    return [keys_read(p.read_text()) for p in paths if p != ROOT / "copt_d2" / "config.py"]


@pytest.mark.parametrize("path", CONFIGS, ids=[str(p.relative_to(ROOT)) for p in CONFIGS])
def test_every_file_merges(path):
    cfg = load_config(str(path))
    assert cfg.MODEL.META_ARCHITECTURE == "UDASegmentor"
    assert "source" in cfg.MODEL.UDA.PHASES


@pytest.mark.parametrize("path", BENCHMARKS, ids=[p.name for p in BENCHMARKS])
def test_benchmarks_are_short_and_name_their_parts(path):
    assert len(path.read_text().splitlines()) <= 15
    cfg = load_config(str(path))
    assert cfg.DATASETS.TRAIN
    assert cfg.DATASETS.TARGET
    assert cfg.DATASETS.TEST
    assert "CoPTLoss" in cfg.MODEL.UDA.FEATURE_LOSSES  # the paper's method


def test_there_are_benchmarks():
    assert BENCHMARKS


def test_methods_build_on_each_other():
    chain = {
        name: load_config(str(ROOT / "configs" / "base" / f"{name}.yaml")).MODEL.UDA
        for name in ("source_only", "daformer", "hrda", "mic", "copt")
    }
    assert {name: list(uda.PHASES) for name, uda in chain.items()} == {
        "source_only": ["source"],
        "daformer": ["source", "mixed"],
        "hrda": ["source", "mixed"],
        "mic": ["source", "mixed", "masked"],
        "copt": ["source", "mixed", "masked"],
    }
    assert {name: list(uda.FEATURE_LOSSES) for name, uda in chain.items()} == {
        "source_only": [],
        "daformer": ["FeatureDistanceLoss"],
        "hrda": ["FeatureDistanceLoss"],
        "mic": ["FeatureDistanceLoss"],
        "copt": ["FeatureDistanceLoss", "CoPTLoss"],
    }


PAPER = ("gta2cs", "synthia2cs", "cs2dz", "cs2acdc")


def load(name):
    return load_config(str(ROOT / "configs" / f"{name}.yaml"))


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_values(name):
    # self_training of CoPT as its authors ran it: the table of method variants, last column
    cfg = load(name)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.IMS_PER_BATCH) == (
        40000,
        1500,
        2,
    )
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY) == (6e-5, 0.01)
    assert (cfg.MODEL.MIT.VARIANT, cfg.MODEL.MIT.DROP_PATH_RATE) == ("b5", 0.1)
    assert cfg.MODEL.BACKBONE.NAME == "build_mit_backbone"
    assert (cfg.MODEL.HRDA.ENABLED, cfg.MODEL.HRDA.CROP_SIZE) == (True, 512)
    assert list(cfg.INPUT.CROP.SIZE) == [1024, 1024]
    assert not cfg.INPUT.PHOTOMETRIC_DISTORTION
    rare = cfg.DATALOADER.RARE_CLASS
    assert (rare.ENABLED, rare.TEMPERATURE) == (True, 0.01)
    assert (rare.MIN_PIXELS, rare.MIN_CROP_RATIO) == (3000, 2.0)
    uda = cfg.MODEL.UDA
    assert (uda.TEACHER_ALPHA, uda.PSEUDO_THRESHOLD) == (0.999, 0.968)
    assert (uda.MASK_BLOCK_SIZE, uda.MASK_RATIO) == (64, 0.7)
    assert (list(uda.MASK_DOMAINS), uda.MASK_AUGMENT) == (["target"], True)
    assert (uda.IGNORE_TOP, uda.IGNORE_BOTTOM) == (0, 0)
    assert list(cfg.INPUT.VALID_MARGINS) == [30, 240, 30, 30]
    assert (list(cfg.TEST.WINDOW), list(cfg.TEST.STRIDE)) == ([1024, 1024], [512, 512])
    copt = cfg.MODEL.COPT
    assert (copt.DECAY, copt.METRIC, copt.ENCODER) == (0.5, "cosine", "open_clip:ViT-B-32")
    assert (copt.AVERAGING, copt.ARTICLE, copt.NORMALIZE_PROMPTS) == ("flat", False, False)


@pytest.mark.parametrize("name", PAPER)
def test_methods_of_one_resolution_have_half_the_size(name):
    full, half = load(f"baselines/{name}_hrda"), load(f"baselines/{name}_daformer")
    for key in ("SOURCE_RESIZE", "TARGET_RESIZE", "TEST_RESIZE"):
        assert [side / 2 for side in full.INPUT[key]] == list(half.INPUT[key])
    assert list(half.INPUT.CROP.SIZE) == [512, 512]
    assert not any(half.INPUT.VALID_MARGINS)
    assert (half.MODEL.UDA.IGNORE_TOP, half.MODEL.UDA.IGNORE_BOTTOM) == (15, 120)
    assert half.DATALOADER.RARE_CLASS.MIN_CROP_RATIO == 0.5
    assert not half.TEST.WINDOW
    source_only = load(f"baselines/{name}_source_only")
    assert source_only.INPUT.PHOTOMETRIC_DISTORTION
    assert not source_only.DATALOADER.RARE_CLASS.ENABLED


def test_what_runs_without_downloads_has_the_embedded_text_encoder():
    for name in ("camvid_day2dusk", "scenes2camvid", "demo", "smoke/camvid_smoke"):
        assert load(name).MODEL.COPT.ENCODER == "minilm"


def test_margins_and_masks_that_differ_between_the_authors():
    for benchmark in ("cs2dz", "cs2acdc"):  # HRDA and MIC trust these targets up to the border
        for method in ("hrda", "mic"):
            assert not any(load(f"baselines/{benchmark}_{method}").INPUT.VALID_MARGINS)
        mic = load(f"baselines/{benchmark}_mic").MODEL.UDA
        assert (list(mic.MASK_DOMAINS), mic.MASK_AUGMENT) == (["source", "target"], False)
    for benchmark in ("gta2cs", "synthia2cs"):
        mic = load(f"baselines/{benchmark}_mic")
        assert list(mic.INPUT.VALID_MARGINS) == [30, 240, 30, 30]
        assert (list(mic.MODEL.UDA.MASK_DOMAINS), mic.MODEL.UDA.MASK_AUGMENT) == (["target"], True)


def test_an_ablation_changes_what_its_name_says():
    base = load("gta2cs")
    folder = ROOT / "configs" / "ablations"
    expected = {
        "metric_l1": {"MODEL.COPT.METRIC"},
        "metric_l2": {"MODEL.COPT.METRIC"},
        "hrda_copt": {"MODEL.UDA.PHASES"},
        "domain_both": {"MODEL.UDA.TARGET_FEATURE_LOSSES"},
        "domain_target": {"MODEL.UDA.FEATURE_LOSSES", "MODEL.UDA.TARGET_FEATURE_LOSSES"},
        "backward_loss": {"SOLVER.BACKWARD"},
        "backward_sum": {"SOLVER.BACKWARD"},
        "uniform_sampling": {"DATALOADER.RARE_CLASS.ENABLED"},
        "no_memory": {"MODEL.COPT.DECAY"},
        "templates_hand_crafted": {
            *("MODEL.COPT.TEMPLATES", "MODEL.COPT.SOURCE_DOMAINS", "MODEL.COPT.TARGET_DOMAINS"),
        },
        "templates_two_level": {"MODEL.COPT.AVERAGING"},
        "templates_article": {"MODEL.COPT.ARTICLE"},
        "encoder_normalized": {"MODEL.COPT.NORMALIZE_PROMPTS"},
        "encoder_mistral_7b": {"MODEL.COPT.ENCODER", "MODEL.COPT.ENCODER_DTYPE"},
        "encoder_sentence_t5": {"MODEL.COPT.ENCODER"},
        **{f"decay_0{d}": {"MODEL.COPT.DECAY"} for d in (1, 3, 7, 9)},
    }
    assert {p.stem.removeprefix("gta2cs_") for p in folder.glob("*.yaml")} == set(expected)
    for name, keys in expected.items():
        changed = config_changes(base.dump(), load(f"ablations/gta2cs_{name}"))
        assert {text.split(" ")[0] for text in changed} == keys, name


@pytest.mark.parametrize("key", our_keys())
def test_every_key_of_ours_has_a_reader(key, readers):
    assert is_read(key, readers)


def test_the_finder_of_readers():
    source = """
def f(cfg, box):
    options = cfg.MODEL.COPT
    cfg.MODEL.UDA.WRITTEN = 1
    deeper = options.INNER
    return options.DECAY, deeper.KEY, cfg.SOLVER.POLY, box(cfg, "RESIZE"), cfg.INPUT[box]

class C:
    def g(self):
        return self.cfg.TEST.WINDOW, options.OTHER
"""
    files = [keys_read(source)]
    read = ["MODEL.COPT.DECAY", "MODEL.COPT.INNER.KEY", "SOLVER.POLY", "INPUT.RESIZE"]
    for key in (*read, "TEST.WINDOW"):
        assert is_read(key, files), key
    for key in ("MODEL.UDA.WRITTEN", "MODEL.COPT.OTHER", "INPUT.OTHER", "MODEL.UDA.DECAY"):
        assert not is_read(key, files), key
