"The choice of the ranker: which nights decide, what is fitted on what, and what happens where there is little."

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from lakes import Event, Item, settings_for, write_lake

from ccf_batch.candidates import ranker, replay
from ccf_batch.candidates.choose import (
    choose_on_nights,
    choose_ranker,
    count_deciding,
    fit_again,
    fit_contenders,
    measure,
    own_order,
    people,
    score_night,
    score_out_of_fold,
    top_rows,
)
from ccf_batch.candidates.matrices import Histories
from ccf_batch.candidates.pair_features import UNRANKED
from ccf_batch.candidates.replay import Night, Plan
from ccf_batch.data.assemble import Assembly
from ccf_batch.data.database import connect

DATE = dt.date(2026, 5, 1)
COLUMNS = ["rank_covisited", "strength_covisited", "rank_popular", "strength_popular", "item_days"]


def draw(days_ago, users=60, items=30, seed=0):
    "A night on which users take two of their candidates, mostly those that `covisited` offers first."
    rng = np.random.default_rng([seed, days_ago])
    shape = users, items
    good, bad = (np.argsort(rng.random(shape)) for _ in range(2))
    days = rng.exponential(30, shape)
    utility = 30 / (10 + good) + 2 * np.exp(-days / 30) + rng.gumbel(size=shape)
    label = (np.argsort(np.argsort(-utility)) < 2).ravel().astype(np.int8)
    values = good, 1 / (1 + good), bad, 1 / (1 + bad), days
    features = np.stack([x.ravel() for x in values], 1).astype(np.float32)
    group, item = np.divmod(np.arange(users * items), items)
    date, user, positives = DATE - dt.timedelta(days_ago), np.arange(users), np.full(users, 3)
    history = Histories(np.zeros(0, np.int32), np.zeros(users + 1, np.int64))
    user_id = pa.array(user[::-1])
    return Night(date, user, user_id, history, positives, COLUMNS, group, item, features, label)


def drawn(count):
    return [draw(14 * (k + 1)) for k in range(count)]


def choose_of(nights):
    return choose_on_nights(Plan(14, [n.date for n in nights]), nights, seed=0)


@pytest.fixture(scope="module")
def four():
    nights = drawn(4)
    return nights, choose_of(nights)


# What decides


def test_the_best_of_the_table_is_kept_and_fitted_on_all_nights(four):
    _, chosen = four
    kinds = {r.list.removeprefix("ranker: "): r.ndcg for r in chosen.lists if "ranker" in r.list}
    assert set(kinds) == {"fusion", "linear", "trees", "blend"}
    assert chosen.deciding == 2 and kinds[chosen.name] == max(kinds.values())
    assert chosen.name != "fusion" and chosen.ranker.fit.nights == 4
    assert chosen.ranker.fit.kind == chosen.name and chosen.ranker.fit.chosen == "given"
    assert chosen.against.ratio > 1.05 and chosen.against.other == "covisited"
    assert all(row.users == 120 and row.low <= row.ndcg <= row.high for row in chosen.lists)


def test_the_table_is_measured_on_nights_that_no_contender_saw(four):
    nights, chosen = four
    contender = fit_contenders(nights[2:], COLUMNS, 0)[chosen.name]
    measured = measure(nights[:2], [score_night(contender.ranker, n) for n in nights[:2]])
    (row,) = (r for r in chosen.lists if r.list == f"ranker: {chosen.name}")
    assert row[2] == pytest.approx(measured.ndcg.mean()) and row.recall == measured.recall.mean()


def test_what_is_fitted_must_beat_the_fusion():
    nights = drawn(4)
    noise = [n._replace(label=np.random.default_rng(5).permutation(n.label)) for n in nights[2:]]
    chosen = choose_of([*nights[:2], *noise])
    rows = {row.list: row.ndcg for row in chosen.lists}
    assert chosen.name == "fusion" and rows["ranker: fusion"] > rows["ranker: trees"]
    assert all(np.isfinite(s).all() for s in chosen.scores)


@pytest.mark.parametrize("users", [1, 60])
def test_lists_are_measured_against_all_that_was_taken(users):
    night = draw(14, users)
    perfect = measure([night], [night.label.astype(float)])
    most = (1 + 1 / np.log2(3)) / (1 + 1 / np.log2(3) + 1 / 2)  # two of three were offered
    assert np.allclose(perfect.ndcg, most) and np.allclose(perfect.recall, 2 / 3)
    nobody = measure([night], [np.full(len(night.item), -np.inf)])
    assert not nobody.ndcg.any() and nobody.distinct == 0 and np.isnan(nobody.first_places)


def test_a_user_without_a_candidate_counts_as_0():
    night = draw(14, users=3)
    rest = night.group != 1
    fewer = night._replace(
        **{k: getattr(night, k)[rest] for k in ("group", "item", "features", "label")}
    )
    score = own_order(night, "covisited")
    whole, part = measure([night], [score]), measure([fewer], [score[rest]])
    assert part.ndcg[1] == 0 and np.array_equal(part.ndcg[[0, 2]], whole.ndcg[[0, 2]])


def test_a_person_is_the_same_on_each_night():
    one, two = draw(14, users=3), draw(28, users=3)
    two = two._replace(user_id=pa.array([7, 0, 1]))
    a, b, c, d, e, f = people([one, two])  # 2, 1, 0, 7, 0, 1
    assert (c, b) == (e, f) and len({a, b, c, d}) == 4


def test_equal_scores_are_in_no_order_of_the_rows():
    night = draw(14, users=1, items=200)
    backwards = night._replace(item=night.item[::-1], label=night.label[::-1])
    listed = [top_rows(n, np.zeros(200)).item.tolist() for n in (night, backwards)]
    assert listed[0] == listed[1] != list(range(10))


# Out of fold


def fifty_rounds(curves):
    for curve in curves:
        curve.advance(50)
    return 50


@pytest.mark.parametrize("kind", ["linear", "trees", "blend"])
def test_scores_of_a_night_do_not_depend_on_its_labels(four, kind, monkeypatch):
    nights, chosen = four

    def scores_of(nights):
        return score_out_of_fold(fit_contenders(nights[2:], COLUMNS, 0)[kind], nights, 2)

    fitted = fit_contenders(nights[2:], COLUMNS, 0)[kind]
    assert set(fitted.without) == {n.date.toordinal() for n in nights[2:]}
    before = score_out_of_fold(fitted, nights, 2)
    assert kind != chosen.name or all(map(np.array_equal, before, chosen.scores))
    # rounds and penalty are chosen by the labels of all nights; here they are given
    monkeypatch.setattr(ranker, "choose_rounds", fifty_rounds)
    monkeypatch.setattr(ranker, "PENALTIES", (0.1,))
    before = scores_of(nights)
    for k, night in enumerate(nights):
        other = night._replace(label=np.roll(night.label, 7))
        after = scores_of([*nights[:k], other, *nights[k + 1 :]])
        assert np.array_equal(after[k], before[k])
        # those of the nights that decide reach no other score, those of the others do
        assert all(map(np.array_equal, after, before)) == (k < 2)


def test_those_made_while_the_rounds_were_chosen_are_the_same_as_those_that_are_fitted_again(four):
    nights, _ = four
    fitted = fit_contenders(nights[2:], COLUMNS, 0)["trees"]
    for night, other in (nights[2:], nights[:1:-1]):
        again = fit_again(fitted.ranker.fit, [other])
        without = fitted.without[night.date.toordinal()]
        assert np.array_equal(score_night(without, night), score_night(again, night))


def test_the_only_training_night_is_scored_by_what_is_fitted_on_the_night_that_decides():
    nights = drawn(2)
    for contender in fit_contenders(nights[1:], COLUMNS, 0).values():
        _, score = score_out_of_fold(contender, nights, 1)
        assert np.array_equal(
            score, score_night(fit_again(contender.ranker.fit, nights[:1]), nights[1])
        )


def test_scores_of_the_training_nights_are_not_those_of_the_final_ranker(four):
    nights, chosen = four
    assert not any(
        np.array_equal(s, score_night(chosen.ranker, n))
        for s, n in zip(chosen.scores, nights, strict=True)
    )


def test_the_same_nights_give_the_same_bytes(four, tmp_path):
    nights, chosen = four
    again = choose_of(nights)
    files = []
    for k, c in enumerate((chosen, again)):
        (tmp_path / str(k)).mkdir()
        c.ranker.save(tmp_path / str(k))
        files.append(
            {
                f.relative_to(tmp_path / str(k)): f.read_bytes()
                for f in (tmp_path / str(k)).rglob("*.*")
            }
        )
    assert files[0] == files[1] and chosen.lists == again.lists
    assert all(map(np.array_equal, chosen.scores, again.scores))


# Where there is little


@pytest.mark.parametrize("count, deciding", [(2, 1), (3, 1), (5, 2)])
def test_with_fewer_than_four_nights_one_decides(count, deciding, capsys):
    nights = drawn(count)
    chosen = choose_of(nights)
    assert chosen.deciding == count_deciding(count) == deciding
    assert chosen.lists[0].users == 60 * deciding and len(chosen.scores) == count
    assert ("fewer than 4 nights" in capsys.readouterr().out) == (count < 4)


def test_on_a_single_night_nothing_is_fitted(capsys):
    nights = drawn(1)
    chosen = choose_of(nights)
    assert chosen.name == "fusion" and chosen.ranker.fit.nights == 0
    assert [r.list for r in chosen.lists] == ["covisited", "popular", "ranker: fusion"]
    assert "one night only" in capsys.readouterr().out


def test_without_a_night_ranks_are_added_up(capsys):
    chosen = choose_of([])
    assert chosen.name == "fusion" and chosen.against is None and not chosen.lists
    assert "no night" in capsys.readouterr().out
    assert "rank_text" in chosen.ranker.fit.columns


def test_a_generator_that_gave_nothing_is_no_feature(capsys):
    nights = drawn(4)
    for night in nights[2:]:
        night.features[:, 2] = UNRANKED
    chosen = choose_of(nights)
    assert chosen.ranker.fit.columns == [c for c in COLUMNS if "popular" not in c]
    assert "no features of popular: offered nothing" in capsys.readouterr().out


def test_a_generator_that_cannot_be_made_any_more_is_no_feature(capsys):
    nights = drawn(4)
    kept = [0, 1, 4]
    nights[0] = nights[0]._replace(
        columns=[COLUMNS[k] for k in kept], features=nights[0].features[:, kept]
    )
    chosen = choose_of(nights)
    assert not [c for c in chosen.ranker.fit.columns if "popular" in c]
    assert "no features of popular: cannot be made" in capsys.readouterr().out


def test_a_generator_that_was_not_made_on_an_older_night_offered_nothing_there():
    nights = drawn(4)
    kept = [0, 1, 4]
    nights[3] = nights[3]._replace(
        columns=[COLUMNS[k] for k in kept], features=nights[3].features[:, kept]
    )
    assert "rank_popular" in choose_of(nights).ranker.fit.columns


# From the lake


def lake_of(root, days=60):
    rng = np.random.default_rng(0)
    first = dt.datetime(2026, 1, 1)
    events = [
        Event(
            f"u{u:02}",
            f"i{(u % 5 + rng.integers(0, 12)) % 20:02}",
            first + dt.timedelta(days=d, hours=1),
        )
        for u in range(40)
        for d in range(days)
        if rng.random() < 0.2
    ]
    write_lake(root, [Item(f"i{k:02}") for k in range(20)], events)
    return settings_for(root, attributes={"categorical": []}, candidates={"exclude_seen": "none"})


def chosen_of(settings, date):
    assembly = Assembly(connect(), settings, date)
    assembly.build_users()
    return choose_ranker(settings, assembly)


def test_a_lake_gives_a_ranker_and_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(replay, "HORIZON", 7)
    settings = lake_of(tmp_path)
    chosen = chosen_of(settings, dt.date(2026, 2, 28))
    out = capsys.readouterr().out
    assert len(chosen.nights) >= 4 and chosen.deciding == 2
    assert [n.date for n in chosen.nights] == chosen.plan.dates
    assert (
        "the best simple list" in out and "candidate recall" in out and "likes of the 7 days" in out
    )
    assert all(len(s) == len(n.item) for s, n in zip(chosen.scores, chosen.nights, strict=True))
    again = chosen_of(settings, dt.date(2026, 2, 28))
    assert again.lists == chosen.lists and again.ranker.fit == chosen.ranker.fit
    assert all(map(np.array_equal, again.scores, chosen.scores))


def test_a_lake_without_a_night_to_replay_gives_the_fusion(tmp_path, capsys):
    chosen = chosen_of(lake_of(tmp_path, days=3), dt.date(2026, 1, 4))
    assert chosen.name == "fusion" and not chosen.nights
    assert "no night can be replayed" in capsys.readouterr().out


def test_a_person_of_two_nights_is_one_person_whatever_their_rows():
    newer, older = drawn(2)
    older = older._replace(user_id=pa.array([str(k) for k in range(60)])[::-1])
    newer = newer._replace(user_id=pa.array([str(k) for k in range(60)]))
    person = people([newer, older])
    assert len(set(person)) == 60 and person[0] == person[-1]
