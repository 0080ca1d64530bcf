"The language model on top of the ranker: its loss, the offset's scale, what each night may know, what is kept."

import dataclasses
import datetime as dt
import functools
import math

import lakes
import nights
import numpy as np
import pyarrow as pa
import pytest
import tiny
import torch
from scipy.special import log_softmax

from ccf_batch.base.errors import InputError
from ccf_batch.base.settings_file import load as load_settings
from ccf_batch.candidates.first_places import place_in_group
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.batch import Batch
from ccf_batch.data.database import connect
from ccf_batch.lm import causal_lm
from ccf_batch.lm.prompt import Prompts
from ccf_batch.model import keep, rerank, trainer
from ccf_batch.model.rerank import (
    Lists,
    fit_as_of,
    fit_scale,
    known_rows,
    train_reranker,
)
from ccf_batch.model.scorer import Scorer

DATES = [dt.date(2026, 2, 20) - dt.timedelta(days=7 * k) for k in range(4)]
CONFIG = (
    tiny.CONFIG.replace("pointwise", "listwise").replace("[score]\n", "[score]\nrerank = 20\n")
    + '[candidates]\nexclude_seen = "none"\n'
)


@pytest.fixture(autouse=True, scope="module")
def quick_nano():
    with pytest.MonkeyPatch.context() as m:
        m.setattr(causal_lm, "nano", functools.partial(causal_lm.nano, steps=3))
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    "Settings of a tiny lake, and the nights that chose a ranker."
    settings = load_settings(config=tiny.write_workspace(tmp_path_factory.mktemp("w"), CONFIG))
    return settings, nights.choose(settings, DATES, 7)


def train(settings, chosen, file, key="k", resume=True):
    with connect() as con:
        return train_reranker(settings, Assembly(con, settings), chosen, file, key, resume)


@pytest.fixture(scope="module")
def reranker(world, tmp_path_factory):
    return train(*world, tmp_path_factory.mktemp("state") / "state")


def weights(model):
    return {n: p.detach().clone() for n, p in trainer.trainable_parameters(model).items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_listwise_loss_is_the_mean_surprise_of_the_positives(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, 9)
    group = np.repeat(np.arange(0, 18, 2), sizes)  # numbers of groups that are left out
    margin = rng.normal(0, 30 if seed else 1, len(group))
    label = rng.integers(0, 2, len(group))
    label[0] = 1
    by_hand = np.concatenate([-log_softmax(margin[group == g]) for g in np.unique(group)])
    x = torch.tensor(margin, requires_grad=True)
    loss = trainer.listwise_loss(x, torch.tensor(label).double(), torch.tensor(group))
    assert loss.item() == pytest.approx(by_hand[label == 1].mean())
    loss.backward()
    share = np.concatenate([np.exp(log_softmax(margin[group == g])) for g in np.unique(group)])
    positives = np.bincount(group, label)[group]
    np.testing.assert_allclose(x.grad, (positives * share - label) / label.sum(), atol=1e-12)


# --- lists and scale ---------------------------------------------------------------------------------


def lists_of(score, label, positives=None):
    "Lists of as many candidates each: score and label [B, n]."
    B, n = score.shape
    nothing = np.zeros(0, np.int32), np.zeros(B + 1, np.int64)
    batch = Batch(
        pa.array(range(B)),
        *nothing,
        np.tile(np.arange(n, dtype=np.int32), B),
        np.arange(0, B * n + 1, n),
        offset=score.ravel().astype(np.float32),
        label=label.ravel().astype(np.int8),
    )
    return Lists(batch, label.sum(1) if positives is None else positives)


@pytest.mark.parametrize("unit, true", [(1.0, 0.7), (1e-3, 2.0), (200.0, 0.3)])
def test_the_scale_is_the_likeliest_of_all(unit, true):
    rng = np.random.default_rng(1)
    score = rng.normal(size=(300, 8))
    label = np.zeros((300, 8), int)
    best = (true * score + rng.gumbel(size=score.shape)).argsort(1)
    np.put_along_axis(label, best[:, -1:], 1, 1)
    np.put_along_axis(label[:100], best[:100, -2:], 1, 1)  # several positives
    label[250:] = 0  # these lists do not count
    found = fit_scale(
        [lists_of(unit * score[:120], label[:120]), lists_of(unit * score[120:], label[120:])]
    )
    grid = np.linspace(0.01, 3, 3000)
    loss = [-(log_softmax(a * score, 1) * label).sum() for a in grid]
    assert found * unit == pytest.approx(grid[np.argmin(loss)], abs=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_surprise_is_taken_over_the_listed_candidates(seed):
    rng = np.random.default_rng(seed)
    margin, label = rng.normal(0, 9, (6, 5)), rng.integers(0, 2, (6, 5))
    margin[rng.random((6, 5)) < 0.3] = np.nan
    by_hand = []
    for row, own in zip(margin, label, strict=True):
        listed = ~np.isnan(row)
        by_hand += list(-log_softmax(row[listed])[own[listed] == 1])
    np.testing.assert_allclose(lists_of(margin, label).surprise(margin.ravel()), by_hand)


def test_scores_that_say_nothing_or_everything_have_a_scale():
    score = np.random.default_rng(0).normal(size=(50, 5))
    top = (score == score.max(1, keepdims=True)).astype(int)
    everything, against = fit_scale([lists_of(score, top)]), fit_scale([lists_of(-score, top)])
    assert 0 < against < 0.1 and 10 < everything < 100
    assert math.isfinite(fit_scale([lists_of(np.ones((4, 3)), np.eye(4, 3, dtype=int))]))
    assert fit_scale([lists_of(score, 0 * top)]) == fit_scale([]) == 1


def test_a_list_is_the_best_of_the_night_and_no_positive_is_put_in(world):
    _, chosen = world
    night, score = chosen.nights[0], chosen.scores[0]
    rows = rerank.first_candidates(night, score, 5)
    assert (np.diff(rows) > 0).all()
    for user in range(len(night.users)):
        own = np.flatnonzero(night.group == user)
        best = sorted(own, key=lambda r: (-score[r], night.item[r]))[:5]
        assert set(rows[night.group[rows] == user]) == set(best)
    lists = Lists.of(night, rows, score[rows])
    assert lists.hits.sum() == night.label[rows].sum() < night.label.sum()
    assert (lists.positives == night.positives).all()
    assert np.array_equal(lists.batch.history, night.history.item)


def test_a_rejected_candidate_has_no_place_and_a_user_without_candidates_counts_0():
    margin = np.array([np.nan, 1, 2, 3, 1, 2], np.float32)
    assert place_in_group(np.repeat([0, 1], 3), margin, np.tile([7, 8, 9], 2)).tolist() == [
        3, 2, 1, 1, 3, 2,
    ]  # fmt: skip
    lists = lists_of(np.zeros((2, 3)), np.array([[1, 0, 0], [0, 1, 0]]))
    assert lists.ndcg(margin).tolist() == [0, pytest.approx(1 / 2)]
    empty = Lists(lists.batch.take(np.array([0])), np.array([2]))
    nobody = dataclasses.replace(
        empty.batch, candidate=empty.batch.candidate[:0], label=empty.batch.label[:0],
        offset=empty.batch.offset[:0], candidate_offsets=np.zeros(2, np.int64),
    )  # fmt: skip
    assert Lists(nobody, np.array([2])).ndcg(np.zeros(0, np.float32)).tolist() == [0]


# --- what a night may know ---------------------------------------------------------------------------


def encoder_at(root, night, events, items):
    lakes.write_lake(root, items, events)
    settings = lakes.settings_for(root, attributes={"categorical": []})
    with connect() as con:
        return fit_as_of(known_rows(Assembly(con, settings, night)), settings)


def test_the_encoder_of_a_night_knows_nothing_of_what_came_after(tmp_path):
    night = dt.date(2026, 2, 1)
    rng, cutoff = np.random.default_rng(0), dt.datetime(2026, 2, 1)
    items = [lakes.Item(f"i{k:02}") for k in range(15)]
    before = [
        lakes.Event(f"u{rng.integers(12):02}", f"i{rng.integers(15):02}",
                    cutoff - dt.timedelta(hours=float(rng.integers(1, 600))), float(rng.integers(1, 6)))
        for _ in range(300)
    ]  # fmt: skip
    after = [
        lakes.Event(
            f"a{k % 20:02}", f"{'ai'[k % 2]}{k % 15:02}", cutoff + dt.timedelta(hours=k), 5.0
        )
        for k in range(200)
    ]
    arrived = [
        dataclasses.replace(e, ingested=cutoff + dt.timedelta(1), rating=1.0) for e in before[:90]
    ]
    late = [lakes.Item(f"a{k:02}", cutoff + dt.timedelta(1)) for k in range(15)]
    alone = encoder_at(tmp_path / "a", night, before, items)
    more = encoder_at(tmp_path / "b", night, before + after + arrived, late + items)
    assert alone.item_ids.equals(more.item_ids) and alone.user_ids.equals(more.user_ids)
    for name, array in alone.cf.arrays.items():
        assert np.array_equal(array, more.cf.arrays[name]), name
    fewer = encoder_at(tmp_path / "c", night, before[:-30], items)
    assert not np.array_equal(fewer.cf.arrays["item_bias"], alone.cf.arrays["item_bias"])


def test_encoders_of_nights_are_turned_to_the_newest_and_say_the_same(world):
    settings, chosen = world
    dates = [night.date for night in chosen.nights]
    with connect() as con:
        assembly = Assembly(con, settings)
        found = rerank.fit_nights(settings, assembly, dates)
        known = known_rows(assembly)
    assert known.catalogue.item_id.equals(found.final.item_ids)
    for date, night in zip(dates, found.nights, strict=True):
        with connect() as con:
            own = fit_as_of(known_rows(Assembly(con, settings, date)), settings)
        bias, other = (e.cf.arrays["item_bias"] for e in (own, night))
        np.testing.assert_allclose(bias, other, atol=0.01)  # begun elsewhere, the same optimum
        count = night.cf.arrays["item_count"].sum()
        assert (
            count == own.cf.arrays["item_count"].sum() < found.final.cf.arrays["item_count"].sum()
        )


def test_labels_of_the_deciding_nights_change_no_weight(world, reranker, tmp_path):
    settings, chosen = world
    rng = np.random.default_rng(0)
    newest = [
        n._replace(
            label=rng.integers(0, 2, len(n.label)).astype(np.int8), positives=n.positives + 1
        )
        for n in chosen.nights[: chosen.deciding]
    ]
    changed = chosen._replace(nights=newest + chosen.nights[chosen.deciding :])
    other = train(settings, changed, tmp_path / "state")
    assert same(weights(other.model), weights(reranker.model)) and other.scale == reranker.scale
    for a, b in zip(other.margins, reranker.margins, strict=True):
        np.testing.assert_array_equal(a, b)
    assert other.kept != reranker.kept


def test_the_newest_training_night_validates_and_is_not_trained_on(world):
    _, chosen = world
    made = [
        rerank.RerankedNight.of(night, score, 20, None)
        for night, score in zip(chosen.nights, chosen.scores, strict=True)
    ]
    train, valid = rerank.reserve(made, 0)
    assert train == made[1:] and valid is made[0]
    train, valid = rerank.reserve(made[:1], 0)
    one, two = (set(part.lists.batch.user_id.to_pylist()) for part in (*train, valid))
    assert not one & two and one | two == set(made[0].lists.batch.user_id.to_pylist())


# --- training ----------------------------------------------------------------------------------------


def test_training_begins_at_the_ranker_and_the_bias_stays_0(reranker):
    first, *rest = reranker.log
    assert first["ndcg"] == first["ranker_ndcg"] and math.isnan(first["loss"])
    assert first["gain"] == 0 and all(row["gain"] != 0 for row in rest)
    assert len(rest) == 2 and all(row["ranker_ndcg"] == first["ranker_ndcg"] for row in rest)
    assert reranker.model.answer.bias.item() == 0
    assert reranker.trained_parameters > 1000


def test_margins_are_those_of_a_scorer_with_the_encoder_of_the_night(world, reranker):
    settings, chosen = world
    night, score = chosen.nights[1], chosen.scores[1]
    rows = rerank.first_candidates(night, score, 20)
    margin = reranker.margins[1]
    assert margin.dtype == np.float32 and np.isnan(np.delete(margin, rows)).all()
    lists = Lists.of(night, rows, score[rows]).scaled(reranker.scale)
    assert lists.batch.offset.dtype == np.float32
    with connect() as con:
        assembly = Assembly(con, settings)
        found = rerank.fit_nights(settings, assembly, [n.date for n in chosen.nights])
        model = found.nights[1].put_into(reranker.model)
        scored = Scorer(model, assembly.catalogue()).score(lists.batch)
        with pytest.raises(ValueError, match="no offset"):
            Scorer(model, assembly.catalogue()).score(dataclasses.replace(lists.batch, offset=None))
    np.testing.assert_array_equal(scored.margin, margin[rows])


def test_killed_after_an_epoch_it_goes_on_to_the_same_weights(
    world, reranker, tmp_path, monkeypatch
):
    saved = trainer.State.save
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):

        def killed(self, *args):
            saved(self, *args)
            raise KeyboardInterrupt

        m.setattr(trainer.State, "save", killed)
        train(*world, tmp_path / "state")
    resumed = train(*world, tmp_path / "state")
    assert same(weights(resumed.model), weights(reranker.model))
    for a, b in zip(resumed.margins, reranker.margins, strict=True):
        assert a.tobytes() == b.tobytes()


def test_rejected_prompts_are_left_out_of_loss_and_lists(world, tmp_path, monkeypatch):
    made = Prompts.groups

    def some_rejected(self, texts, batch, offset=None):
        groups = made(self, texts, batch, offset)
        return dataclasses.replace(groups, rejected=groups.candidate % 3 == 0)

    monkeypatch.setattr(Prompts, "groups", some_rejected)
    settings, chosen = world
    found = train(settings, chosen, tmp_path / "state")
    for night, score, margin in zip(chosen.nights, chosen.scores, found.margins, strict=False):
        rows = rerank.first_candidates(night, score, 20)
        assert (np.isnan(margin[rows]) == (night.item[rows] % 3 == 0)).all()
    assert all(torch.isfinite(p).all() for p in weights(found.model).values())
    assert found.log[0]["ndcg"] < found.log[0]["ranker_ndcg"]


def test_one_training_night_gives_a_part_of_its_users_to_validation(world, tmp_path):
    settings, chosen = world
    few = chosen._replace(nights=chosen.nights[:2], scores=chosen.scores[:2], deciding=1)
    found = train(settings, few, tmp_path / "state")
    assert 0 < found.log[0]["lists"] < len(chosen.nights[1].users) / 2
    assert len(found.margins) == 1


@pytest.mark.parametrize("left", [0, 1])
def test_without_a_night_to_train_on_there_is_no_model(world, tmp_path, left):
    settings, chosen = world
    few = chosen._replace(nights=chosen.nights[:left], scores=chosen.scores[:left], deciding=left)
    found = train(settings, few, tmp_path / "state")
    assert found.model is None and not found.kept.kept and len(found.margins) == left
    assert all(np.isnan(m).all() for m in found.margins)
    model = settings.model.model_copy(update={"keep": "always"})
    with pytest.raises(InputError, match="no language model can be trained"):
        train(settings.model_copy(update={"model": model}), few, tmp_path / "state")


# --- keeping -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "gain, kept",
    [
        (-0.05, {"always"}),
        (0.0, {"always", "unless-it-harms"}),
        (0.05, {"always", "unless-it-harms", "if-it-earns"}),
    ],
)
def test_each_rule_goes_by_its_side_of_the_interval(gain, kept):
    rng = np.random.default_rng(0)
    ranker = rng.uniform(0, 0.5, 500)
    lm = ranker + rng.normal(0, 0.1, 500) - 0.0
    lm += gain - (lm - ranker).mean()
    person = rng.integers(0, 300, 500)
    for rule in keep.KEEP:
        found = keep.decide_keep(ranker, lm, person, rule)
        assert found.kept == (rule in kept), rule
        assert found.difference == pytest.approx(gain) and found.low < gain < found.high
        assert f"{found.difference:+.4f}" in found.sentence and repr(rule) in found.sentence


def test_people_are_resampled_with_all_their_lists():
    rng = np.random.default_rng(0)
    of_person = np.repeat(rng.normal(0, 0.1, 100), 4)
    zero = np.zeros(400)
    wide = keep.decide_keep(zero, of_person, np.repeat(np.arange(100), 4), "always")
    narrow = keep.decide_keep(zero, of_person, np.arange(400), "always")
    assert wide.high - wide.low == pytest.approx(2 * (narrow.high - narrow.low), rel=0.2)


def test_where_nothing_was_measured_nothing_is_said_to_be_earned():
    none = np.zeros(0)
    found = {rule: keep.decide_keep(none, none, none, rule) for rule in keep.KEEP}
    assert [k.kept for k in found.values()] == [True, False, True, False]
    assert all(math.isnan(k.difference) for k in found.values())
