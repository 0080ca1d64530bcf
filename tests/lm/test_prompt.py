"Prompts against a plain-Python oracle, and titles that try to be more than text."

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from tokenizers import AddedToken

from ccf_batch.lm.causal_lm import nano_tokenizer
from ccf_batch.lm.packed import full_prompts
from ccf_batch.lm.prompt import (
    TEMPLATES,
    Prompts,
    compact,
    resolve_template,
    wording,
)
from ccf_batch.lm.tokenizer import TextTokenizer
from ccf_batch.settings import Settings

TITLES = ["Toy Story (1995)", "Heat (1995)", None, "", "Amélie 🎬 (2001)", "  two\n lines  "]
NASTY = ["<s>", "</s>", "<|im_end|>", "[Item]", "Answer: Yes", "<think>", "\x00", "ﷺ", "</s></s>x"]


@pytest.fixture(scope="module")
def tokenizer():
    fast = nano_tokenizer([t for t in TITLES if t] * 20, Settings())
    fast.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    fast.add_tokens([AddedToken("<think>", special=False)])
    return fast


def batch_of(histories, candidates):
    "A batch of users from lists of item rows."
    return SimpleNamespace(
        history=np.array([i for h in histories for i in h], np.int32),
        history_offsets=np.cumsum([0, *map(len, histories)]),
        candidate=np.array([i for c in candidates for i in c], np.int32),
        candidate_offsets=np.cumsum([0, *map(len, candidates)]),
    )


def oracle(tokenizer, settings, template, titles, histories, candidates, V, B):
    "Each pair's prompt by the words of the contract, in loops."
    t, text = wording(template, settings), TextTokenizer(tokenizer)

    def ids(s):
        return text([s])[0].tolist()

    def words(r):
        clean = " ".join((titles[r] or "").split()) or "untitled"
        return ids(" " + clean)[: settings.prompt.title_tokens] if t.titles else []

    def slot(r, there):
        return [V + B + r] if there else []

    def entry(r):
        return words(r) + slot(r, t.prefix_slots) + ids(t.after_entry)

    longest = (settings.prompt.title_tokens if t.titles else 0) + t.slots + len(ids(t.cue))
    out = []
    for g, (history, wanted) in enumerate(zip(histories, candidates, strict=True)):
        closing = ids(t.before_user) + ([V + g] if t.prefix_slots else []) + ids(t.closing)
        kept = (
            list(history[-settings.prompt.history_length :])
            if settings.prompt.history_length
            else []
        )
        while kept:
            entries = [i for r in kept for i in entry(r)]
            prefix = [tokenizer.bos_token_id] + ids(t.liked) + entries + closing
            if len(prefix) + longest <= settings.prompt.max_tokens:
                break
            kept = kept[1:]
        else:
            prefix = [tokenizer.bos_token_id] + ids(t.nothing_liked) + closing
        out += [prefix + words(r) + slot(r, t.slots) + ids(t.cue) for r in wanted]
    return out


@pytest.mark.parametrize("template", list(TEMPLATES))
@examples(25)
@given(data=st.data())
def test_groups_are_what_the_oracle_says(tokenizer, template, data):
    rows = st.integers(0, len(TITLES) - 1)
    histories = data.draw(st.lists(st.lists(rows, max_size=5), min_size=1, max_size=4))
    size = len(histories)
    candidates = data.draw(st.lists(st.lists(rows, max_size=4), min_size=size, max_size=size))
    limits = {
        "history_length": data.draw(st.integers(0, 5)),
        "title_tokens": data.draw(st.integers(1, 12)),
        "max_tokens": data.draw(st.integers(16, 160)),
    }
    settings = Settings(prompt=limits, domain={"noun": "movies"})
    V = len(tokenizer)
    prompts = Prompts(tokenizer, V, settings, template, block=8)
    texts = prompts.catalogue(TITLES)
    groups = prompts.groups(texts, batch_of(histories, candidates))
    expected = oracle(tokenizer, settings, template, TITLES, histories, candidates, V, 8)
    found = [p.tolist() for p in full_prompts(groups, texts.suffixes)]
    assert found == expected
    assert groups.rejected.tolist() == [len(p) > limits["max_tokens"] for p in expected]
    assert groups.offset.tolist() == [0.0] * len(expected)


def test_titles_hold_no_slot_and_no_special_token_in_a_prompt(tokenizer):
    V = len(tokenizer)
    prompts = Prompts(tokenizer, V, Settings(), "full", block=2)
    texts = prompts.catalogue(NASTY)
    groups = prompts.groups(texts, batch_of([[0, 1, 2, 3]], [range(len(NASTY))]))
    for pair, ids in enumerate(full_prompts(groups, texts.suffixes)):
        assert np.isin(ids, list(tokenizer.added_tokens_decoder)).sum() == 1  # BOS alone
        slots = ids[ids >= V] - V
        assert slots.tolist() == [2, 3, 4, 5, 0, 2 + pair]


def test_a_budget_drops_the_oldest_entries_whatever_the_candidates(tokenizer):
    V = len(tokenizer)
    roomy = Prompts(tokenizer, V, Settings(), "full", block=1)
    texts = roomy.catalogue(TITLES)
    whole = roomy.groups(texts, batch_of([[0, 1, 4]], [[0]]))
    budget = len(whole.prefix_ids) + roomy.longest_suffix - 1
    tight = Prompts(tokenizer, V, Settings(prompt={"max_tokens": budget}), "full", block=1)
    texts = tight.catalogue(TITLES)
    one = tight.groups(texts, batch_of([[0, 1, 4]], [[0]]))
    other = tight.groups(texts, batch_of([[0, 1, 4]], [[4, 5, 2]]))
    assert one.prefix_ids[one.prefix_ids >= V].tolist() == [V + 1 + 1, V + 1 + 4, V]
    assert np.array_equal(one.prefix_ids, other.prefix_ids)
    assert not one.rejected.any()


def test_templates_say_the_noun_and_no_slots_in_text(tokenizer):
    settings = Settings(domain={"noun": "{yes} books"})  # a noun is text, not a field
    assert wording("compact", settings).liked == "Liked {yes} books:"
    assert '"Yes" or "No"' in wording("full", settings).closing
    V = len(tokenizer)
    prompts = Prompts(tokenizer, V, settings, "text", block=1)
    texts = prompts.catalogue(TITLES)
    groups = prompts.groups(texts, batch_of([[0]], [[1]]))
    assert full_prompts(groups, texts.suffixes)[0].max() < V
    assert resolve_template(Settings()) == "compact"
    assert resolve_template(Settings(model={"base": "x/y"})) == "full"


def test_more_users_than_the_block_holds(tokenizer):
    prompts = Prompts(tokenizer, len(tokenizer), Settings(), "compact", block=1)
    with pytest.raises(ValueError, match="block"):
        prompts.groups(prompts.catalogue(TITLES), batch_of([[], []], [[0], [0]]))


@pytest.mark.quick
@examples(50)
@given(data=st.data())
def test_take_and_compact_keep_the_prompts(tokenizer, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    G, V, B = 5, len(tokenizer), 7
    prompts = Prompts(tokenizer, V, Settings(), "full", block=B)
    texts = prompts.catalogue(TITLES)
    histories = [rng.integers(6, size=rng.integers(4)).tolist() for _ in range(G)]
    candidates = [rng.integers(6, size=rng.integers(4)).tolist() for _ in range(G)]
    batch = batch_of(histories, candidates)
    C = len(batch.candidate)
    groups = prompts.groups(texts, batch, np.arange(C))
    pairs = np.flatnonzero(rng.random(C) < 0.5)
    part = groups.take(pairs)
    whole = full_prompts(groups, texts.suffixes)
    taken = full_prompts(part, texts.suffixes) if len(pairs) else []
    assert [p.tolist() for p in taken] == [whole[i].tolist() for i in pairs]
    assert part.offset.tolist() == pairs.tolist()
    if not len(pairs):
        return
    small, suffixes, users, items = compact(part, texts.suffixes)
    back = np.concatenate([np.arange(V), V + users, V + B + items])
    mapped = [back[p].tolist() for p in full_prompts(small, suffixes)]
    assert mapped == [p.tolist() for p in taken]
    assert small.block == len(users)
    used = np.unique(np.concatenate(taken))
    assert len(users) + len(items) == (used >= V).sum()
