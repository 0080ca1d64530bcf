"The first-stage ranker: what it learns, what it saves, and which texts of models it refuses to open."

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ccf_batch.base.errors import InputError
from ccf_batch.candidates import ranker as r
from ccf_batch.metrics import ndcg_at

COLUMNS = ["rank_covisited", "strength_factors", "days_since_taken", "popular_30", "user_events"]
FITS = {"trees": r.fit_trees, "linear": r.fit_linear}


def nights(count, users=80, items=40, seed=0):
    "Examples whose users take by a known utility, with noise; returns the utility, too."
    rng = np.random.default_rng(seed)
    shape = count * users, items
    rank = np.argsort(rng.random(shape)).astype(float)
    strength = rng.normal(size=shape)
    days = np.where(rng.random(shape) < 0.4, rng.exponential(30, shape), np.nan)
    popular = np.floor(np.exp(1.5 * rng.normal(size=shape)) * 20)
    active = np.broadcast_to(rng.integers(1, 5, (shape[0], 1)), shape)
    decay = np.nan_to_num(np.exp(-days / 30))
    utility = 30 / (10 + rank) + strength + 3 * decay + 0.5 * np.log1p(popular)
    place = np.argsort(np.argsort(-utility - rng.gumbel(size=shape)))
    features = np.stack([x.ravel() for x in (rank, strength, days, popular, active)], 1)
    night, group = np.divmod(np.repeat(np.arange(count * users), items), users)
    item = np.tile(np.arange(items), count * users)
    label = (place < active).ravel().astype(np.int8)
    examples = r.Examples(features.astype(np.float32), label, night, group, item)
    return examples, utility.ravel()


def ndcg(examples, score):
    return float(np.nanmean(r.ndcg_by_group(r.rivals_of(examples), score)))


@pytest.fixture(scope="module")
def training():
    return nights(3)[0]


@pytest.fixture(scope="module")
def fitted(training):
    return {kind: fit(training, COLUMNS) for kind, fit in FITS.items()}


@pytest.fixture(scope="module")
def text(training):
    return r.fit_trees(training, COLUMNS, rounds=4).checked.text


def bytes_of(ranker, folder):
    folder.mkdir()
    ranker.save(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# What it learns


@pytest.mark.parametrize("kind", FITS)
def test_a_planted_order_is_found(fitted, kind):
    tonight, utility = nights(1, users=600, seed=1)
    best = ndcg(tonight, utility)
    found = ndcg(tonight, fitted[kind].score(tonight.features))
    x = r.transform_columns(tonight.features, COLUMNS)
    single = max(ndcg(tonight, sign * x[:, j]) for j in range(5) for sign in (1, -1))
    assert found > 0.93 * best and found > single + 0.1
    assert fitted[kind].fit.chosen == "on left-out nights"


@pytest.mark.parametrize("kind", FITS)
def test_what_is_the_same_within_a_group_decides_nothing(fitted, kind):
    shares = fitted[kind].importances()
    assert list(shares)[-1] == "user_events" and shares["user_events"] < 0.02
    assert sum(shares.values()) == pytest.approx(1)


def test_a_night_of_one_group_does_not_decide_the_rounds():
    asked = []

    class Curve:
        def __init__(self, size):
            self.small, self.round = size == "small", 0

        def advance(self, rounds):
            self.round += rounds
            asked.append(self.round)
            if self.small:  # best after one round
                return np.array([1 / self.round])
            return np.full(100, 1 - abs(self.round - 50) / 100)

    assert r.choose_rounds([Curve("large"), Curve("small")]) == 50
    assert max(asked) == 50 + r.PATIENCE
    assert r.choose_rounds([Curve("small")]) == r.EVERY


def test_the_penalty_that_is_best_on_left_out_nights_is_taken(training):
    noisy = training._replace(
        features=np.hstack(
            [
                training.features,
                np.random.default_rng(5).normal(size=(len(training.label), 60)).astype(np.float32),
            ]
        )
    )
    columns = [*COLUMNS, *(f"noise_{k}" for k in range(60))]
    few = noisy.take(noisy.group < 5)
    assert r.fit_linear(few, columns).fit.penalty > r.fit_linear(training, COLUMNS).fit.penalty


@pytest.mark.parametrize("kind", FITS)
def test_with_one_night_the_number_is_fixed_and_the_record_says_so(training, kind):
    fit = FITS[kind](training.take(training.night == 0), COLUMNS).fit
    assert fit.chosen == "fixed, as there is one night" and fit.nights == 1
    assert (fit.rounds, fit.penalty) == ((r.ROUNDS, None) if kind == "trees" else (None, r.PENALTY))


@pytest.mark.parametrize("kind", FITS)
def test_nights_and_groups_without_a_positive_change_nothing(training, kind):
    empty = training.night == 1
    without = training._replace(label=np.where(empty, 0, training.label).astype(np.int8))
    a, b = FITS[kind](without, COLUMNS), FITS[kind](training.take(~empty), COLUMNS)
    assert (a.fit.nights, a.fit.groups, a.fit.left_out, b.fit.left_out) == (2, 160, 80, 0)
    assert (a.fit.rounds, a.fit.penalty) == (b.fit.rounds, b.fit.penalty)
    assert np.array_equal(a.score(training.features), b.score(training.features))


@pytest.mark.parametrize("kind", FITS)
def test_groups_of_one_are_fine(training, kind):
    every = np.unique(training.night * 1000 + training.group, return_index=True)[1]
    alone = np.isin(np.arange(len(training.label)), every) & (training.group % 3 == 0)
    small = training.take(alone | (training.group % 3 > 0))
    assert np.isfinite(FITS[kind](small, COLUMNS).score(training.features)).all()
    ones = training.take(alone)._replace(label=np.ones(alone.sum(), np.int8))
    assert (FITS[kind](ones, COLUMNS).score(training.features) == 0).all()  # nothing to learn


@pytest.mark.parametrize("kind", FITS)
def test_without_any_positive_one_line_says_so(training, kind):
    with pytest.raises(InputError, match="none of the 240 groups"):
        FITS[kind](training._replace(label=np.zeros_like(training.label)), COLUMNS)


@pytest.mark.parametrize("kind", FITS)
def test_columns_that_are_constant_or_missing_get_no_weight(training, kind, tmp_path):
    features = training.features.copy()
    features[:, 1], features[:, 3] = 0.1, np.nan
    ranker = FITS[kind](training._replace(features=features), COLUMNS)
    shares = ranker.importances()
    assert shares["strength_factors"] == shares["popular_30"] == 0
    features[:] = np.nan
    nothing = FITS[kind](training._replace(features=features), COLUMNS)
    bytes_of(nothing, tmp_path / "f")
    assert (r.load(tmp_path / "f", COLUMNS).score(training.features) == 0).all()


@pytest.mark.parametrize("kind", FITS)
def test_missing_features_are_scored(fitted, kind):
    features = np.full((3, 5), np.nan, np.float32)
    features[1] = 3e38
    features[2] = -3e38
    assert np.isfinite(fitted[kind].score(features)).all()
    assert fitted[kind].score(features[:0]).shape == (0,)


@pytest.mark.parametrize("kind", FITS)
def test_a_score_does_not_depend_on_other_rows(fitted, training, kind):
    some = training.features[:300]
    whole = fitted[kind].score(some)
    assert whole.dtype == np.float32
    assert [fitted[kind].score(some[k : k + 1])[0] for k in range(300)] == whole.tolist()


WRONG = {
    "differ in length": lambda e: e._replace(item=e.item[1:]),
    "neither 0 nor 1": lambda e: e._replace(label=e.label * 2),
    "not sorted": lambda e: e._replace(group=e.group[::-1]),
    "not float32": lambda e: e._replace(features=e.features.astype(np.float64)),
    "infinite": lambda e: e._replace(features=np.where(e.features == 0, np.inf, e.features)),
}


@pytest.mark.parametrize("says", WRONG)
def test_arrays_that_do_not_fit_are_refused(training, says):
    for fit in FITS.values():
        with pytest.raises(ValueError, match=says):
            fit(WRONG[says](training), COLUMNS)


# Sampling and measuring


@pytest.mark.parametrize("kind", FITS)
def test_a_fit_trains_on_a_sample_and_is_measured_on_all_candidates(kind, monkeypatch):
    examples, _ = nights(2, users=20, items=100)
    measured = []
    rivals_of = r.rivals_of
    monkeypatch.setattr(r, "rivals_of", lambda e: measured.append(e) or rivals_of(e))
    fit = FITS[kind](examples, COLUMNS).fit
    assert [len(e.label) for e in measured] == [2000, 2000]
    assert fit.rows == fit.positives + 40 * 60


def test_negatives_are_drawn_whatever_the_order_of_the_rows():
    examples, _ = nights(2, users=50, items=200)
    sampled, left_out = r.sample_negatives(examples)
    assert left_out == 0 and sampled.label.sum() == examples.label.sum()
    assert ((r.groups_of(sampled).rows - r.groups_of(sampled).positives) == 60).all()
    rng = np.random.default_rng(3)
    mixed = examples.take(np.lexsort((rng.random(len(examples.label)), *examples[3:1:-1])))
    again = r.sample_negatives(mixed).examples
    assert {*zip(*sampled[2:], strict=True)} == {*zip(*again[2:], strict=True)}
    other = r.sample_negatives(examples, seed=1).examples
    assert {*zip(*sampled[2:], strict=True)} != {*zip(*other[2:], strict=True)}
    drawn = np.bincount(sampled.item[sampled.label == 0], minlength=200)
    assert 15 < drawn.min() and drawn.max() < 45  # of 100 groups, 30 each


def test_groups_without_a_positive_are_left_out_and_counted():
    examples, _ = nights(2, users=50)
    label = np.where(examples.group < 10, 0, examples.label).astype(np.int8)
    sampled, left_out = r.sample_negatives(examples._replace(label=label), most=5)
    assert left_out == 20 and sampled.group.min() == 10
    assert r.sample_negatives(examples.take(slice(0, 0))).left_out == 0


def test_ndcg_is_that_of_the_sorted_rows():
    examples, _ = nights(2, users=30)
    score = np.random.default_rng(4).integers(0, 6, len(examples.label)).astype(float)
    groups = r.groups_of(examples)
    tie = r.hash_rows(0, examples.item)
    order = np.lexsort((tie, -score, groups.owner))
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order)) - groups.first[groups.owner] + 1
    expected = ndcg_at(10, groups.owner, rank, examples.label == 1, groups.positives)
    assert r.ndcg_by_group(r.rivals_of(examples), score) == pytest.approx(expected, abs=1e-12)


# Saved and loaded


@pytest.mark.parametrize("kind", FITS)
def test_the_same_bytes_twice_and_the_same_scores_after_loading(fitted, training, kind, tmp_path):
    files = bytes_of(fitted[kind], tmp_path / "a")
    assert files == bytes_of(FITS[kind](training, COLUMNS), tmp_path / "b")
    loaded = r.load(tmp_path / "a", COLUMNS)
    assert loaded.fit == fitted[kind].fit
    assert np.array_equal(loaded.score(training.features), fitted[kind].score(training.features))
    assert loaded.importances() == fitted[kind].importances()
    assert bytes_of(loaded, tmp_path / "c") == files


def test_other_seeds_make_other_trees(training):
    a, b = (r.fit_trees(training, COLUMNS, seed, rounds=3) for seed in (0, 1))
    assert a.checked.text != b.checked.text and a.fit.chosen == "given"


def test_what_is_written_anew_is_lightgbms_own_model(training):
    import lightgbm

    booster = r._new_booster(training, COLUMNS, 0)
    for _ in range(5):
        booster.update()
    theirs = booster.model_to_string().partition("end of trees\n")
    ours = r.check_text("".join(theirs[:2]), COLUMNS).text
    assert lightgbm.Booster(model_str=ours).model_to_string().startswith(theirs[0])


def test_torch_in_the_same_process_changes_nothing(training, fitted, tmp_path):
    "Run in a process that has loaded PyTorch, with its OpenMP runtime, and used it."
    np.savez(tmp_path / "training.npz", *training)
    code = """
import sys, pathlib, numpy as np
from ccf_batch.candidates import ranker
assert not {"lightgbm", "scipy", "torch", "sklearn"} & set(sys.modules)
import torch
torch.set_num_threads(2)
torch.ones(500, 500) @ torch.ones(500, 500)
folder = pathlib.Path(sys.argv[1])
stored = np.load(folder / "training.npz")
examples = ranker.Examples(*(stored[name] for name in stored.files))
trees = ranker.fit_trees(examples, sys.argv[2:])
(torch.ones(500, 500) @ torch.ones(500, 500)).sum()
assert np.isfinite(trees.score(examples.features)).all()
trees.save(folder)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path), *COLUMNS], check=True, timeout=120)
    assert (tmp_path / "ranker.txt").read_text() == fitted["trees"].checked.text


def test_a_machine_without_libgomp_is_told_what_to_install():
    code = """
import ctypes
def missing(self, name):
    raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")
ctypes.LibraryLoader.LoadLibrary = missing
from ccf_batch.base.errors import InputError
from ccf_batch.candidates import ranker
try:
    ranker.lightgbm()
except InputError as e:
    print(e)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "install the package libgomp1" in out.stdout and out.stdout.count("\n") == 1


@pytest.mark.parametrize("kind", FITS)
def test_columns_that_are_not_made_any_more_are_refused(fitted, kind, tmp_path):
    bytes_of(fitted[kind], tmp_path / "f")
    for columns in (COLUMNS[::-1], [*COLUMNS, "similarity_text"]):
        assert r.load(tmp_path / "f", columns).fit.columns == COLUMNS
    for columns in (COLUMNS[:-1], []):
        with pytest.raises(InputError, match=r"ranker\.json: columns.*train again"):
            r.load(tmp_path / "f", columns)


def test_missing_and_foreign_files_are_refused(fitted, tmp_path):
    folder = tmp_path / "f"
    bytes_of(fitted["trees"], folder)
    file = folder / "ranker.txt"
    for content, says in ((b"tr\xc3\xa9e", "not ASCII"), (b"", "header"), (None, "cannot be read")):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InputError, match=rf"ranker\.txt: .*{says}"):
            r.load(folder, COLUMNS)
    with file.open("wb") as f:
        f.truncate(r.MOST_BYTES + 1)
    with pytest.raises(InputError, match="bytes"):
        r.load(folder, COLUMNS)
    (folder / "ranker.json").write_text("{}")
    with pytest.raises(InputError, match=r"ranker\.json.*train again"):
        r.load(folder, COLUMNS)


@pytest.mark.parametrize(
    "name, value",
    [
        ("weight", [1.0]),
        ("weight", [float("nan")] * 5),
        ("weight", [1e300] * 5),
        ("scale", [0.0] * 5),
        ("transform", ["log"] * 4 + ["eval"]),
        ("mean", "long"),
        ("products", [{"by": "user_items", "weight": [0.0] * 5}]),  # no column
        ("products", [{"by": COLUMNS[0], "weight": [0.0] * 4}]),
        ("products", [{"by": COLUMNS[0], "weight": [1e300] * 5}]),
        ("products", [{"by": COLUMNS[0], "weight": [0.0] * 5}] * 9),
        ("products", None),
    ],
)
def test_edited_weights_are_refused(fitted, tmp_path, name, value):
    bytes_of(fitted["linear"], tmp_path / "f")
    file = tmp_path / "f/ranker_weights.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    with pytest.raises(InputError, match=r"ranker_weights\.json.*train again"):
        r.load(tmp_path / "f", COLUMNS)


def test_a_key_that_is_not_ours_is_no_weight(fitted, tmp_path):
    bytes_of(fitted["linear"], tmp_path / "f")
    file = tmp_path / "f/ranker_weights.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "": None}))
    assert r.load(tmp_path / "f", COLUMNS).weights.weight == fitted["linear"].weights.weight


# Texts of models


def replaced(name, change, tree=1):
    "An edit of the values of a field of a tree."

    def edit(text):
        parts = re.split(r"(?=^Tree=)", text, flags=re.M)
        values = re.search(rf"^{name}=(.*)$", parts[tree + 1], re.M)[1].split(" ")
        new = " ".join(change(values))
        parts[tree + 1] = re.sub(rf"(?m)^{name}=.*$", f"{name}={new}", parts[tree + 1])
        sizes = " ".join(str(len(p.replace("end of trees\n", ""))) for p in parts[1:])
        return re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", "".join(parts))

    return edit


def first(value):
    return lambda values: [value, *values[1:]]


EDITS = {
    "an array is short": ("tree 1: threshold: ", replaced("threshold", lambda v: v[1:])),
    "an array is long": ("tree 1: leaf_value: ", replaced("leaf_value", lambda v: [*v, "0"])),
    "fewer leaves": ("tree 1: split_feature: ", replaced("num_leaves", first("3"))),
    "no leaf": ("tree 1: num_leaves: '0'", replaced("num_leaves", first("0"))),
    "a million leaves": ("tree 1: num_leaves: ", replaced("num_leaves", first("1000000"))),
    "a child above the nodes": ("tree 1: left_child: 20 ", replaced("left_child", first("20"))),
    "a leaf out of range": ("tree 1: right_child: -20 ", replaced("right_child", first("-20"))),
    "a cycle": ("tree 1: left_child: node 0", replaced("left_child", first("0"))),
    "a longer cycle": (
        "tree 1: left_child: node 1",
        replaced("left_child", lambda v: ["1"] * len(v)),
    ),
    "a leaf twice": ("tree 1: right_child: ", replaced("right_child", lambda v: ["-1"] * len(v))),
    "a feature out of range": ("tree 1: split_feature: 5", replaced("split_feature", first("5"))),
    "a negative feature": ("tree 1: split_feature: '-1'", replaced("split_feature", first("-1"))),
    "a threshold that is nan": ("tree 1: threshold: 'nan'", replaced("threshold", first("nan"))),
    "an infinite leaf": ("tree 1: leaf_value: 'inf'", replaced("leaf_value", first("inf"))),
    "a huge leaf": ("tree 1: leaf_value: '1e300'", replaced("leaf_value", first("1e300"))),
    "a categorical split": ("tree 1: decision_type: 9", replaced("decision_type", first("9"))),
    "a count of categories": ("tree 1: num_cat: ", replaced("num_cat", first("1"))),
    "a linear tree": ("tree 1: is_linear: ", replaced("is_linear", first("1"))),
    "a second space": ("tree 1: split_gain: ", replaced("split_gain", lambda v: ["", *v])),
    "another name": (
        "header: feature_names: ",
        lambda t: t.replace("popular_30", "popular_31", 1),
    ),
    "names in another order": (
        "header: feature_names: ",
        lambda t: t.replace("popular_30 user_events", "user_events popular_30", 1),
    ),
    "another objective": (
        "header: objective: ",
        lambda t: t.replace("objective=lambdarank", "objective=binary sigmoid:1"),
    ),
    "more classes": ("header: num_class: ", lambda t: t.replace("num_class=1", "num_class=3")),
    "another version": ("header: version: ", lambda t: t.replace("version=v4", "version=v3")),
    "more features": (
        "header: max_feature_idx: ",
        lambda t: t.replace("max_feature_idx=4", "max_feature_idx=9"),
    ),
    "a further key": ("header: ", lambda t: t.replace("\n", "\naverage_output\n", 1)),
    "sizes that do not fit": (
        "tree 0: tree_sizes: ",
        lambda t: t.replace("tree_sizes=", "tree_sizes=1"),
    ),
    "a size missing": ("end: ", lambda t: re.sub(r"(tree_sizes=.*) \d+\n", r"\1\n", t)),
    "a size too many": ("tree 4: Tree: ", lambda t: re.sub(r"(tree_sizes=.*)", r"\1 400", t)),
    "cut off": ("tree 3: ", lambda t: t[: -len(t) // 8]),
    "text after the trees": ("end: ", lambda t: t + "parameters:\n"),
    "no trees": (
        "end: no tree",
        lambda t: re.sub(r"(?s)tree_sizes=.*", "tree_sizes=\n\nend of trees\n", t),
    ),
    "not ASCII": ("header: ", lambda t: t.replace("tree", "tré", 1)),
    "too large": ("header: over", lambda t: t + "\n" * r.MOST_BYTES),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edited_text_is_refused_by_name(text, case):
    assert r.check_text(text, COLUMNS).text == text
    says, edit = EDITS[case]
    assert edit(text) != text
    with pytest.raises(InputError) as e:
        r.check_text(edit(text), COLUMNS, "bundle/ranker.txt")
    assert str(e.value).startswith(f"bundle/ranker.txt: {says}")
    assert str(e.value).endswith("the file was changed, train again") and len(str(e.value)) < 300


FUZZ = Path(__file__).with_name("fuzz_ranker.py")


def test_a_thousand_edited_texts_are_refused_or_score(text, tmp_path):
    "In a process of its own, so that a crash or a hang is seen."
    (tmp_path / "ranker.txt").write_text(text)
    command = [sys.executable, str(FUZZ), str(tmp_path / "ranker.txt"), *COLUMNS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-2000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["refused"] + counts["scored"] == 1000
    assert counts["refused"] > 500 and counts["scored"] > 20
