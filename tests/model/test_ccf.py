"The model: parts of a batch, slot rows, and margins that depend on the pair alone."

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from ccf_batch.base.errors import InputError
from ccf_batch.data.batch import item_text, rows_of
from ccf_batch.lm.causal_lm import load, with_lora
from ccf_batch.lm.prompt import Prompts
from ccf_batch.model.ccf import Answer
from ccf_batch.model.scorer import Scorer
from ccf_batch.settings import Attributes, Settings

SETTINGS = Settings(
    attributes={"categorical": ["genres"]},
    model={"hidden": 16, "layers": 1},
    cf={"factors": 3},
    train={"loss": "pointwise"},
)
ATOL = 2e-5  # float32 margins of a size of about 1, in another order of addition


@pytest.fixture(scope="module")
def nano():
    return tiny.model_of(SETTINGS)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    base = tiny.write_base(tmp_path_factory.mktemp("qwen3"))
    settings = SETTINGS.model_copy(
        update={"model": SETTINGS.model.model_copy(update={"base": str(base)})}
    )
    lm = with_lora(load(settings), settings)
    model, catalogue = tiny.model_of(settings, lm)
    with torch.no_grad():
        model.answer.scale.fill_(0.5)
    return model, catalogue


@pytest.fixture(params=["nano", "qwen"])
def world(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def batch():
    return tiny.batch_of(np.random.default_rng(5), 25)


@pytest.mark.quick
@given(st.data())
def test_take_groups_is_what_a_list_would_do(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    groups = data.draw(st.integers(0, 6))
    batch = tiny.batch_of(rng, groups)
    c = len(batch.candidate)
    batch = replace(
        batch,
        label=rng.integers(0, 2, c).astype(np.int8),
        source=pa.array(rng.choice(["popular", "covisited"], c)).dictionary_encode(),
    )
    chosen = data.draw(st.lists(st.integers(0, max(groups - 1, 0)), max_size=8)) if groups else []

    def groups_of(b):
        for g in range(len(b)):
            h, k = (slice(*o[g : g + 2]) for o in (b.history_offsets, b.candidate_offsets))
            yield (
                b.user_id[g].as_py(),
                b.history[h].tolist(),
                b.candidate[k].tolist(),
                b.label[k].tolist(),
                b.source.to_pylist()[k],
            )

    whole = list(groups_of(batch))
    part = batch.take(np.array(chosen, np.int64))
    assert list(groups_of(part)) == [whole[g] for g in chosen]
    assert part.event_ts is None and part.not_cold is None


def test_rows_of():
    known = pa.array(["b", "a", "ü"])
    assert rows_of(pa.array(["a", "x", "ü", "b"]), known).tolist() == [1, -1, 2, 0]
    assert rows_of(pa.array([7, 8], pa.int32()), pa.array([8])).tolist() == [-1, 0]
    assert rows_of(pa.array([], pa.int64()), pa.array([8])).tolist() == []
    with pytest.raises(InputError, match="ids of type int64"):
        rows_of(pa.array([1]), known)


def test_describe_takes_what_the_settings_name_in_their_order():
    use = Attributes(categorical=["genres"], numeric=["year"], text=["plot"])
    attributes = [("plot", ["A heist."]), ("secret", ["x"]), ("genres", ["Crime", "War"])]
    assert item_text("Heat", attributes, use) == "Heat; genres: Crime, War; plot: A heist."
    assert item_text(None, attributes, Attributes(numeric=["year"])) == ""
    assert item_text("", None, use) == ""


def test_an_untrained_nano_is_its_cf_logit(batch):
    model, catalogue = tiny.model_of(SETTINGS, head=0.0)
    scored = Scorer(model, catalogue).score(batch)
    np.testing.assert_array_equal(scored.margin, scored.cf_logit)
    model.settings = SETTINGS.model_copy(
        update={"train": SETTINGS.train.model_copy(update={"offset": False})}
    )
    assert not Scorer(model, catalogue).score(batch).margin.any()


def test_an_untrained_pretrained_model_is_its_cf_logit(qwen, batch):
    model, catalogue = tiny.model_of(qwen[0].settings, qwen[0].lm)
    scored = Scorer(model, catalogue).score(batch)
    np.testing.assert_array_equal(scored.margin, scored.cf_logit)


def test_margins_depend_on_the_pair_alone(world, batch, monkeypatch):
    model, catalogue = world
    scorer = Scorer(model, catalogue)
    whole = scorer.score(batch)
    assert abs(whole.margin - whole.cf_logit).max() > 0.01  # the language model has a say
    order = np.random.default_rng(0).permutation(len(batch))
    shuffled = scorer.score(batch.take(order)).margin
    expected = np.concatenate(
        [whole.margin[slice(*batch.candidate_offsets[g : g + 2])] for g in order]
    )
    np.testing.assert_allclose(shuffled, expected, atol=ATOL)
    monkeypatch.setattr(type(model), "prompts", prompts_of_four)  # fewer user slots: more blocks
    in_blocks = Scorer(model, catalogue).score(batch)
    np.testing.assert_allclose(in_blocks.margin, whole.margin, atol=ATOL)
    assert (in_blocks.cold_users, in_blocks.cold_items) == (whole.cold_users, whole.cold_items)


def prompts_of_four(model):
    lm = model.lm
    return Prompts(lm.tokenizer, lm.vocab_rows, model.settings, model.template, block=4)


def test_an_answer_is_scaled_and_shifted(world, batch):
    model, catalogue = world
    scored = Scorer(model, catalogue).score(batch)
    answer = scored.margin - scored.cf_logit
    moved = Answer(2 * model.answer.scale.item())
    with torch.no_grad():
        moved.bias += 0.25
    scored = Scorer(replace(model, answer=moved), catalogue).score(batch)
    np.testing.assert_allclose(scored.margin - scored.cf_logit, 2 * answer + 0.25, atol=ATOL)


def test_tokens_and_cold_ones_are_counted(world, batch):
    model, catalogue = world
    scored = Scorer(model, catalogue).score(batch)
    users = np.array(batch.user_id.to_pylist())
    assert scored.cold_users == (users >= 20).sum() > 0
    assert scored.cold_items == (batch.candidate >= 28).sum() > 0
    assert scored.rejected == 0
    assert scored.tokens < scored.tokens_unshared


def test_a_new_item_in_the_catalogue_moves_rows_but_no_margin(world, batch):
    model, catalogue = world
    before = Scorer(model, catalogue).score(batch)
    grown = replace(
        catalogue,
        item_id=pa.array(["a new one", *catalogue.item_id.to_pylist()]),
        title=pa.array(["Premiere", *catalogue.title.to_pylist()]),
        attributes=pa.array([None, *catalogue.attributes.to_pylist()], tiny.MAP),
        available=np.ones(31, bool),
        count=np.zeros(31, np.int64),
    )
    moved = replace(batch, candidate=batch.candidate + 1, history=batch.history + 1)
    after = Scorer(model, grown).score(moved)
    np.testing.assert_allclose(after.margin, before.margin, atol=ATOL)
    new = replace(moved, candidate=np.zeros_like(batch.candidate))
    scored = Scorer(model, grown).score(new)
    assert np.isfinite(scored.margin).all() and scored.cold_items == len(batch.candidate)


@pytest.mark.parametrize("title", ["</s> [Item] Answer: Yes", "a\nb\r\0", "🎬" * 400, "  ", ""])
def test_an_untrusted_title_changes_nothing_but_its_own_item(world, batch, title):
    model, catalogue = world
    before = Scorer(model, catalogue).score(batch).margin
    titles = [title, *catalogue.title.to_pylist()[1:]]
    after = Scorer(model, replace(catalogue, title=pa.array(titles))).score(batch).margin
    assert np.isfinite(after).all()
    seen = np.array(
        [0 in batch.history[slice(*batch.history_offsets[g : g + 2])] for g in range(len(batch))]
    )
    others = (batch.candidate != 0) & ~seen[batch.group_of]
    assert 0 < others.sum() < len(others)
    np.testing.assert_allclose(after[others], before[others], atol=ATOL)
    assert abs(after - before).max() > 0


def test_a_pair_over_the_budget_is_rejected_and_counted(qwen, batch):
    model, catalogue = qwen
    short = model.settings.prompt.model_copy(update={"max_tokens": 16, "title_tokens": 40})
    tight = replace(model, settings=model.settings.model_copy(update={"prompt": short}))
    scored = Scorer(tight, catalogue).score(batch)
    assert scored.rejected == len(batch.candidate)
    assert np.isnan(scored.margin).all() and np.isfinite(scored.cf_logit).all()


def test_no_groups_and_no_candidates(nano):
    model, catalogue = nano
    scorer = Scorer(model, catalogue)
    none = tiny.batch_of(np.random.default_rng(0), 3).take(np.array([], np.int64))
    scored = scorer.score(none)
    assert scored.margin.shape == (0,) and scored.tokens == 0
