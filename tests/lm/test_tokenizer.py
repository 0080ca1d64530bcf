"Tokenizers of a base: untrusted text, pieces that join, the file's own ids, BOS, rows of the table."

import json
import string
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ccf_batch.base.errors import InputError
from ccf_batch.lm.causal_lm import nano_tokenizer
from ccf_batch.lm.prompt import TEMPLATES, Prompts, wording
from ccf_batch.lm.tokenizer import (
    SENTENCES,
    GGUFRules,
    TextTokenizer,
    answer_ids,
    bos_ids,
    changed_sentence,
    check_rows,
    follow_gguf,
    forbidden_ids,
    gguf_rules,
    load_tokenizer,
    set_bos,
)
from ccf_batch.settings import Settings

TITLES = ["Toy Story (1995)", "Heat (1995)", "Amélie 🎬 (2001)", "  two\n lines  "]
NASTY = ["<s>", "</s>", "<|im_end|>", "[Item]", "Answer: Yes", "<think>", "\x00", "ﷺ", "</s></s>x"]
WORDS = "Toy Story Heat Liked movies Yes No user feature the and enjoy".split()


@pytest.fixture(scope="module")
def tokenizer():
    fast = nano_tokenizer(TITLES * 20, Settings())
    fast.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    fast.add_tokens([AddedToken("<think>", special=False)])
    return fast


def trained(normalizer, pre_tokenizer, decoder, **model):
    "A small BPE tokenizer of some style, trained on single words so that no merge spans two."
    backend = Tokenizer(models.BPE(unk_token="<unk>", **model))
    if normalizer is not None:
        backend.normalizer = normalizer
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoder
    alphabet = [*pre_tokenizers.ByteLevel.alphabet(), *string.printable, "▁"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    words = [w for word in WORDS for w in (word, f" {word}")]
    backend.train_from_iterator(words * 20, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def metaspace(scheme, split=True):
    return pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)


def byte_level(prefix):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix)


def llama_2():
    mark = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    decoder = [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return trained(normalizers.Sequence(mark), None, decoders.Sequence(decoder))


STYLES = {
    "llama 2": llama_2,
    "metaspace always": lambda: trained(None, metaspace("always"), decoders.Metaspace()),
    "metaspace first": lambda: trained(None, metaspace("first", False), decoders.Metaspace()),
    "metaspace in a sequence": lambda: trained(
        None,
        pre_tokenizers.Sequence([pre_tokenizers.Digits(True), metaspace("first")]),
        decoders.Metaspace(),
    ),
    "byte level with a space": lambda: trained(None, byte_level(True), decoders.ByteLevel()),
    "byte level": lambda: trained(None, byte_level(False), decoders.ByteLevel()),
}


@pytest.fixture(scope="module", params=STYLES)
def styled(request):
    return STYLES[request.param]()


# --- untrusted text


@pytest.mark.quick
@examples(150)
@given(parts=st.lists(st.one_of(st.text(max_size=12), st.sampled_from(NASTY)), max_size=5))
def test_any_title_stays_text(tokenizer, parts):
    title = "".join(parts)
    (ids,) = TextTokenizer(tokenizer)([title])
    assert not np.isin(ids, list(tokenizer.added_tokens_decoder)).any()
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == title


def test_plain_call_would_have_parsed_them(tokenizer):
    "The test above could not fail if the tokenizer did not parse added tokens."
    for word in ("</s>", "<|im_end|>", "<think>"):
        assert set(tokenizer(word, add_special_tokens=False).input_ids) <= set(
            tokenizer.added_tokens_decoder
        )


def test_no_style_yields_a_forbidden_token(styled):
    text, rng = TextTokenizer(styled), np.random.default_rng(0)
    titles = [" ".join(rng.choice([*NASTY, *WORDS], 4)) for _ in range(50)]
    for opening in (False, True):
        for ids in text(titles, opening=opening):
            assert not np.isin(ids, [1, 2]).any()  # <unk> is what the vocabulary says of 🎬


def test_unigram_vocabulary_that_lists_its_special_token():
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁", -2.0)]
    pieces += [(c, -3.0) for c in "</s>ab"]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
    text = TextTokenizer(fast)
    assert fast.eos_token_id in text._backend.encode("a</s>b").ids  # the trap is real
    for opening, mark in ((False, ""), (True, "▁")):
        (ids,) = text(["a</s>b"], opening=opening)
        assert fast.eos_token_id not in ids
        assert "".join(fast.convert_ids_to_tokens(ids.tolist())) == f"{mark}a</s>b"


def test_whole_words_of_the_vocabulary_that_are_special():
    "`ignore_merges` (Llama 3) looks a whole word up before it splits it."
    vocab = {c: i for i, c in enumerate("<|eot>ab")} | {"<|eot|>": 8}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|eot|>")
    text = TextTokenizer(fast)
    assert text._backend.encode("<|eot|>").ids == [8]  # the trap is real
    assert 8 not in text(["<|eot|>"])[0]


def test_added_whitespace_is_text_as_gemma_lists_it():
    vocab = ["<bos>", "<think>", "\n", "\n\n", "▁", "▁▁", *string.ascii_letters]
    backend = Tokenizer(models.BPE({t: i for i, t in enumerate(vocab)}, [("▁", "▁")]))
    backend.normalizer = normalizers.Replace(" ", "▁")
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<bos>")
    fast.add_tokens([AddedToken(t, normalized=False) for t in ("<think>", "\n", "\n\n", "▁▁")])
    # two without an entry in the model, the second is text
    fast.add_tokens([AddedToken(t, normalized=False) for t in ("<table>", "\n\n\n\n")])
    assert forbidden_ids(fast).tolist() == [0, 1, len(vocab)]
    (ids,) = TextTokenizer(fast)(["a\n\n\nb  c\n\n\n\n"])
    assert fast.convert_ids_to_tokens(ids.tolist()) == "a|\n\n|\n|b|▁▁|c|\n\n\n\n".split("|")
    assert ids.tolist() == fast("a\n\n\nb  c\n\n\n\n", add_special_tokens=False).input_ids
    fast.add_special_tokens({"additional_special_tokens": [AddedToken("\n", special=True)]})
    assert 2 in forbidden_ids(fast)


def test_no_tokenizer_without_a_fast_version():
    with pytest.raises(InputError, match="fast"):
        TextTokenizer(object())


# --- pieces that join


@pytest.mark.parametrize("template", ["text", "full", "compact"])
def test_pieces_join_as_the_whole_text_would_be_tokenized(styled, template):
    settings = Settings(domain={"noun": "movies"}, prompt={"max_tokens": 2000, "title_tokens": 99})
    t, rng = wording(template, settings), np.random.default_rng(0)
    letters, V = list(string.ascii_letters), len(styled)
    titles = ["".join(rng.choice([*letters, " "], 9)) + "z" for _ in range(40)]
    titles += [" ".join(rng.choice(WORDS, rng.integers(1, 5))) for _ in range(40)]
    clean = [" ".join(title.split()) for title in titles]
    prompts = Prompts(styled, V, settings, template, block=1)
    texts = prompts.catalogue(titles)
    for history in ([], [0], rng.integers(80, size=7).tolist()):
        words = [f" {clean[r]}" if t.titles else "" for r in range(80)]
        entries = "".join(f"{words[r]}{t.after_entry}" for r in history)
        opening = t.liked if history else t.nothing_liked
        prefix = opening + entries + t.before_user + t.closing
        batch = Batch(history, [3, 50])
        groups = prompts.groups(texts, batch)
        for pair, r in enumerate((3, 50)):
            suffix = texts.suffixes.ids[slice(*texts.suffixes.offsets[r : r + 2])]
            ids = np.concatenate([groups.prefix_ids, suffix])
            whole = styled(prefix + words[r] + t.cue).input_ids
            assert ids[ids < V].tolist() == whole, pair


class Batch:
    "One user with a history and candidates, as item rows."

    def __init__(self, history, candidates):
        self.history, self.candidate = np.array(history, np.int32), np.array(candidates, np.int32)
        self.history_offsets = np.array([0, len(history)])
        self.candidate_offsets = np.array([0, len(candidates)])


def test_prompts_can_be_read_in_any_style(styled):
    settings, V = Settings(domain={"noun": "movies"}), len(styled)
    prompts = Prompts(styled, V, settings, "full", block=1)
    texts = prompts.catalogue(["Toy Story", "Heat"])
    groups = prompts.groups(texts, Batch([1], [0]))
    read = prompts.decode(styled, np.concatenate([groups.prefix_ids, texts.suffixes.ids[:99]]))
    assert "following movies: Heat [Item 1], and has preferences" in read
    assert "feature [User 0]. Using all" in read and " Toy Story [Item 0]" in read
    assert prompts.decode(styled, texts.suffixes.ids[: texts.suffixes.offsets[1]]).startswith(
        " Toy Story [Item 0]"
    )


def test_byte_level_ids_are_what_the_tokenizer_itself_gives(tokenizer):
    text = TextTokenizer(tokenizer)
    assert text._opening is text._backend
    for name in TEMPLATES:
        t = wording(name, Settings())
        texts = [t.liked, t.nothing_liked, t.before_user, t.closing, t.after_entry, t.cue, *TITLES]
        expected = [tokenizer(s, add_special_tokens=False).input_ids for s in texts]
        assert [ids.tolist() for ids in text(texts)] == expected
        assert [ids.tolist() for ids in text(texts, opening=True)] == expected


# --- BOS and answers


def test_bos_is_what_the_tokenizer_puts_there(styled):
    assert bos_ids(styled) == [1]
    set_bos(styled, False)
    assert bos_ids(styled) == []
    set_bos(styled, True)
    assert bos_ids(styled) == [1]


def test_answers_must_be_single_and_distinct(tokenizer):
    for yes, no, says in ((" Absolutely not", " No", "prompt.yes"), (" Yes", " Yes", "same token")):
        with pytest.raises(InputError, match=says):
            answer_ids(tokenizer, "?", Settings(prompt={"yes": yes, "no": no}))


@pytest.mark.parametrize("cue", ["", "\n#Answer:"])
def test_answers_are_one_token_in_every_style(styled, cue):
    yes, no = answer_ids(styled, cue, Settings())
    expected = [
        styled(f"x{cue}{w}", add_special_tokens=False).input_ids[-1] for w in (" Yes", " No")
    ]
    assert [yes, no] == expected


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (
            "Yes",
            r"prompt.yes = 'Yes' is 3 tokens after the cue '\?'.* must be one; ' Yes' is one: set it",
        ),
        (" Zq", r"prompt.yes = ' Zq' is 3 tokens .*; neither is 'Zq': choose another word"),
    ],
)
def test_answers_name_the_variant_that_is_one_token(word, says):
    vocab = {c: i for i, c in enumerate([*string.printable, "Ġ", "ĠY", "ĠYe", "ĠYes", "ĠN", "ĠNo"])}
    merges = [("Ġ", "Y"), ("ĠY", "e"), ("ĠYe", "s"), ("Ġ", "N"), ("ĠN", "o")]
    backend = Tokenizer(models.BPE(vocab, merges))
    backend.pre_tokenizer = byte_level(False)
    fast = PreTrainedTokenizerFast(tokenizer_object=backend)
    with pytest.raises(InputError, match=says):
        answer_ids(fast, "?", Settings(prompt={"yes": word}))


# --- rows of the table


def test_ids_without_a_row_are_refused(tokenizer):
    V = len(tokenizer)
    check_rows(tokenizer, V - 2, "base")  # <|im_end|> and <think>, which no text yields
    for rows in (V - 3, 5):
        with pytest.raises(InputError, match=rf"base: its tokenizer has {V} .* table {rows} rows"):
            check_rows(tokenizer, rows, "base")


def test_a_bos_that_was_added_later_is_refused(tokenizer):
    fast = nano_tokenizer(TITLES, Settings())
    V = len(fast)
    fast.add_special_tokens({"bos_token": "<begin>"})
    check_rows(fast, V, "base")  # it exists, but opens no text
    set_bos(fast, True)
    with pytest.raises(InputError, match=rf"'<begin>' \(id {V}\).*resize_token_embeddings"):
        check_rows(fast, V, "base")
    with pytest.raises(InputError, match="base = 'mine'"):
        Prompts(fast, V, Settings(model={"base": "mine"}), "full", block=1)


# --- tokenizer.json is the authority


def written(fast, folder, **config):
    "Save a tokenizer, and declare it by a configuration."
    folder.mkdir(exist_ok=True)
    fast.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return str(folder)


def file_ids(folder, special):
    file = Tokenizer.from_file(f"{folder}/tokenizer.json")
    return [file.encode(s, add_special_tokens=special).ids for s in SENTENCES]


def ids_of(fast, special):
    return [fast(s, add_special_tokens=special).input_ids for s in SENTENCES]


DECLARED = {"bos_token": "<s>", "eos_token": "</s>"}
LLAMA = DECLARED | {"tokenizer_class": "LlamaTokenizerFast"}


def test_a_byte_level_tokenizer_declared_as_llamas_keeps_its_spaces(tokenizer, tmp_path):
    folder = written(tokenizer, tmp_path / "base", **LLAMA)
    assert ids_of(AutoTokenizer.from_pretrained(folder), False) != file_ids(folder, False)
    loaded, (note,) = load_tokenizer(folder, local_files_only=True)
    assert "LlamaTokenizerFast changes the ids of its tokenizer.json" in note
    for special in (False, True):
        assert ids_of(loaded, special) == file_ids(folder, special)
    assert (loaded.bos_token, loaded.eos_token) == ("<s>", "</s>")
    assert len(loaded) == len(tokenizer)  # no `<unk>` of the class's own is added
    loaded.save_pretrained(tmp_path / "bundle")
    for again in (
        AutoTokenizer.from_pretrained(tmp_path / "bundle"),
        load_tokenizer(str(tmp_path / "bundle")).tokenizer,
    ):
        assert ids_of(again, True) == file_ids(folder, True)


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "LlamaTokenizerFast", None])
def test_any_style_under_any_class_gives_its_files_ids(styled, kind, tmp_path):
    config = DECLARED | ({"tokenizer_class": kind} if kind else {})
    folder = written(styled, tmp_path / "base", **config, unk_token="<unk>")
    loaded, notes = load_tokenizer(folder)
    for special in (False, True):
        assert ids_of(loaded, special) == file_ids(folder, special)
    assert notes == [] or kind == "LlamaTokenizerFast"
    loaded.save_pretrained(tmp_path / "bundle")
    assert ids_of(load_tokenizer(str(tmp_path / "bundle")).tokenizer, True) == ids_of(loaded, True)


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "LlamaTokenizerFast", "GPT2Tokenizer"])
@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("explicit", [True, False, None])
def test_an_explicit_bos_wins_over_the_file_and_the_file_over_the_class(
    kind, in_file, explicit, tmp_path
):
    fast = nano_tokenizer(TITLES, Settings())
    set_bos(fast, in_file)
    config = DECLARED | {"tokenizer_class": kind}
    config |= {} if explicit is None else {"add_bos_token": explicit}
    loaded, _ = load_tokenizer(written(fast, tmp_path / "base", **config))
    expected = in_file if explicit is None else explicit
    assert bos_ids(loaded) == ([loaded.bos_token_id] if expected else [])
    assert ids_of(loaded, False) == ids_of(fast, False)
    loaded.save_pretrained(tmp_path / "bundle")
    again, notes = load_tokenizer(str(tmp_path / "bundle"))
    assert bos_ids(again) == bos_ids(loaded) and notes == []
    assert changed_sentence(again, loaded.backend_tokenizer) is None


def test_a_hub_model_is_read_at_its_revision(tokenizer, tmp_path):
    cache, revision = tmp_path / "models--org--name", "0123456789" * 4
    (cache / "refs").mkdir(parents=True)
    (cache / "snapshots").mkdir()
    folder = written(tokenizer, cache / "snapshots" / revision, **LLAMA)
    Path(folder, "config.json").write_text('{"model_type": "llama"}', "utf-8")
    options = {"revision": revision, "cache_dir": tmp_path, "local_files_only": True}
    loaded, notes = load_tokenizer("org/name", trust_remote_code=False, **options)
    assert len(notes) == 1 and ids_of(loaded, True) == file_ids(folder, True)


def test_a_base_without_tokenizer_json_is_as_its_class_makes_it(tmp_path):
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab | {"<|endoftext|>": 256}), "utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}', "utf-8")
    loaded, notes = load_tokenizer(str(tmp_path), local_files_only=True)
    assert notes == [] and loaded.tokenize("a b") == ["a", "Ġ", "b"]


# --- GGUF


def spm_file(path, pre="default", **fields):
    "A SentencePiece vocabulary of single letters and two words, as a GGUF file."
    tokens = ["<unk>", "<s>", "</s>", "▁", *string.ascii_letters, "▁T", "▁To", "▁Toy"]
    return gguf_file(path, "llama", tokens, [0.0] * 3 + [-9.0] * 53 + [-3.0, -2.0, -1.0], **fields)


def bpe_file(path, **fields):
    "A byte-level vocabulary with a BOS whose name is outside the byte alphabet, as a GGUF file."
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|end|>", "<｜begin▁｜>", "19", "Việt"]
    tokens[-1] = "Viá»ĩt"
    return gguf_file(path, "gpt2", tokens, None, merges=["1 9"], bos_token_id=257, **fields)


def gguf_file(path, model, tokens, scores, merges=None, **fields):
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    control = [3 if t.startswith("<") and len(t) > 2 else 1 for t in tokens]
    writer.add_token_types(control)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    for key, value in ({"bos_token_id": 1, "eos_token_id": 2} | fields).items():
        kind = {bool: writer.add_bool, str: writer.add_string, int: writer.add_uint32}[type(value)]
        kind(f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def loaded_gguf(path):
    return load_tokenizer(str(path.parent), gguf_file=path.name, local_files_only=True)


@pytest.mark.parametrize(("given_as", "expected"), [(True, True), (False, False), (None, True)])
def test_bos_of_a_sentencepiece_file(given_as, expected, tmp_path):
    fields = {} if given_as is None else {"add_bos_token": given_as}
    loaded, notes = loaded_gguf(spm_file(tmp_path / "spm.gguf", **fields))
    assert notes == [] and bos_ids(loaded) == ([1] if expected else [])
    loaded.save_pretrained(tmp_path / "bundle")
    for again in (AutoTokenizer.from_pretrained, lambda p: load_tokenizer(str(p)).tokenizer):
        again = again(tmp_path / "bundle")
        assert again(" Toy  b").input_ids == loaded(" Toy  b").input_ids


@pytest.mark.parametrize(("given_as", "marked"), [(True, True), (False, False), (None, True)])
def test_word_mark_of_a_sentencepiece_file(given_as, marked, tmp_path):
    fields = {} if given_as is None else {"add_space_prefix": given_as}
    loaded, _ = loaded_gguf(spm_file(tmp_path / "spm.gguf", **fields))
    assert loaded.tokenize("Toy") == (["▁Toy"] if marked else list("Toy"))
    assert loaded.tokenize(" Toy b") == (["▁"] if marked else []) + ["▁Toy", "▁", "b"]
    text = TextTokenizer(loaded)
    assert loaded.convert_ids_to_tokens(text([" Toy"])[0].tolist()) == ["▁Toy"]
    assert loaded.convert_ids_to_tokens(text(["Toy"], opening=True)[0].tolist()) == loaded.tokenize(
        "Toy"
    )


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        *[(p, True) for p in "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral tekken".split()],
        *[(p, True) for p in "chameleon midm-2.0 lfm2 gemma4".split()],
        *[(p, False) for p in "gpt-2 qwen2 smollm falcon default".split()],
    ],
)
def test_bos_of_a_byte_level_file_that_does_not_say(pre, expected, tmp_path):
    rules = gguf_rules(bpe_file(tmp_path / "bpe.gguf", pre=pre))
    assert rules == GGUFRules("gpt2", pre, bos=expected, bos_id=257, space=False)


def test_bos_with_a_name_that_the_library_respells_keeps_its_id(tmp_path):
    path = bpe_file(tmp_path / "bpe.gguf", pre="llama-bpe")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    assert tokenizer.bos_token_id != 257  # the trap is real
    loaded, notes = loaded_gguf(path)
    assert notes == [] and bos_ids(loaded) == [257]
    check_rows(loaded, 260, "base")
    loaded.save_pretrained(tmp_path / "bundle")
    assert bos_ids(load_tokenizer(str(tmp_path / "bundle")).tokenizer) == [257]


def test_rules_of_a_byte_level_file(tmp_path):
    for pre, whole in (("llama-bpe", True), ("gpt-2", False)):
        loaded, _ = loaded_gguf(bpe_file(tmp_path / f"{pre}.gguf", pre=pre))
        assert (len(loaded.tokenize("Việt")) == 1) == whole
    for pre, digits in (("smollm", ["1", "9"]), ("starcoder", ["1", "9"]), ("gpt-2", ["19"])):
        loaded, _ = loaded_gguf(bpe_file(tmp_path / f"{pre}.gguf", pre=pre))
        assert loaded.tokenize("19") == digits


def test_a_file_that_wants_bos_but_names_none(tokenizer):
    fast = nano_tokenizer(TITLES, Settings())
    _, (note,) = follow_gguf(fast, GGUFRules("gpt2", "tekken", True, None, False))
    assert "names none" in note and bos_ids(fast) == []


VOCABULARIES = Path(__file__).resolve().parents[2] / "models" / "vocabularies"
KNOWN = {  # of 46 test strings, how many come out as llama.cpp's, and whether BOS opens a text
    "deepseek-coder": (45, True),
    "deepseek-llm": (45, True),
    "falcon": (46, False),
    "gpt-2": (46, False),
    "llama-bpe": (46, True),
    "llama-spm": (46, True),
    "phi-3": (46, True),
    "qwen2": (46, False),
    "starcoder": (46, False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_real_vocabularies_give_what_llama_cpp_gives(name):
    path = VOCABULARIES / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"needs models/vocabularies/{path.name}, .inp and .out: llama.cpp's models/")
    loaded, notes = loaded_gguf(path)
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = path.with_suffix(".gguf.out").read_text("utf-8").splitlines()
    pairs = [(t, [*map(int, line.split())]) for t, line in zip(texts[:-1], lines, strict=True)]
    right = [loaded(t, add_special_tokens=False).input_ids == ids for t, ids in pairs]
    assert (sum(right), bool(bos_ids(loaded))) == KNOWN[name] and notes == []
