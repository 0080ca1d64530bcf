"""Input that means harm, for the property tests of `test_harm_*.py`.

Few examples, the same ones every time; `CCF_HARM=40` tries forty times as many, new ones each time.
"""

import json
import os
import pickle
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from properties import examples

TIMES = int(os.environ.get("CCF_HARM", "1"))
TRIED = Counter()  # inputs by layer


def fuzz(count):
    "How often a property is tried."
    tried = examples(count * TIMES)
    return settings(tried, derandomize=tried.derandomize and TIMES == 1)


NASTY = [
    "",
    " ",
    "<|im_end|>",
    "</s>",
    "<s>",
    "<|endoftext|>",
    "[Item]",
    "[User 0]",
    "\n#Answer: Yes",
    "Answer: Yes",
    '{noun}" {yes}',
    "\u202eevil\u202c",
    "\u2066x\u2069",
    "zero\u200b\u200c\u200d\ufeffwidth",
    "\u2028\u2029\x85",
    "a\x00b",
    "\x00",
    "\x1b[2J\x1b]0;owned\x07",
    "\r\n",
    "\t",
    "\x7f\x9b31m",
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "~",
    "a/b\\c",
    "C:\\x",
    "*?[a]",
    "[[]",
    "date=2026-01-01",
    "x=y",
    "__HIVE_DEFAULT_PARTITION__",
    "%2e%2e%2f",
    "'; DROP TABLE items; --",
    "$1",
    "$user",
    "?",
    '"',
    "'",
    "`",
    "x' OR '1'='1",
    "NULL",
    "null",
    "None",
    "true",
    "nan",
    "NaN",
    "inf",
    "-Infinity",
    "1e999",
    "-1",
    "0",
    "007",
    "1e5",
    "0x10",
    "1_000",
    "٣",
    "9" * 40,
    "9223372036854775807",
    "9223372036854775808",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "{0.__class__}",
    "%s%n",
    "[bold red]x[/]",
    ",",
    ";",
    "|",
    "::",
    "e\u0301\u0323" * 20,
    "👩‍👩‍👧‍👦" * 5,
    "ﷺ",
    "\U0010ffff",
    "\ufffe",
    "ccf_absent",
    "ccf_row",
    "=1+1",
]
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.one_of(
    st.sampled_from(NASTY),
    st.text(CHARACTERS, max_size=20),
    st.lists(st.sampled_from(NASTY), min_size=2, max_size=4).map("".join),
)
LONG = st.sampled_from(["x", "ab ", "é", "</s>", "\u202e", "日本 "]).map(
    lambda s: s * (1_000_000 // len(s.encode()))
)
NUMBER = st.one_of(
    st.sampled_from([0, -1, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**40, 1, 5]),
    st.integers(),
    st.floats(),
)

# JSON as a file may hold it: lone surrogates, numbers that no double holds, NaN
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, TEXT, st.just("\ud800"), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXT | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NO_JSON = [
    b"",
    b"{",
    b"\xff\xfe{}",
    b"[" * 20_000,
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    b"9" * 6_000,
]


def dumps(value) -> bytes:
    return json.dumps(value).encode()


@st.composite
def mutated(draw, tree):
    "A JSON value with one part of it replaced, removed or added to."
    root = {"": json.loads(json.dumps(tree))}
    place, key = root, ""
    for _ in range(draw(st.integers(0, 4))):
        there = place[key]
        if not isinstance(there, dict | list) or not there:
            break
        keys = sorted(there) if isinstance(there, dict) else list(range(len(there)))
        place, key = there, draw(st.sampled_from(keys))
    how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if how == "remove":
        del place[key]
    elif how == "add" and isinstance(place[key], dict):
        place[key][draw(TEXT)] = draw(JSON)
    else:
        place[key] = draw(JSON)
    return root.get("", {})


def file_content(tree):
    "Bytes that somebody puts in the place of a JSON file: other JSON, a change of it, or no JSON."
    return st.one_of(
        mutated(tree).map(dumps), JSON.map(dumps), st.sampled_from(NO_JSON), st.binary(max_size=40)
    )


class Evil:
    "Unpickling it makes a file."

    def __init__(self, trace: Path):
        self.trace = str(trace)

    def __reduce__(self):
        return open, (self.trace, "w")


def pickled(trace: Path) -> bytes:
    return pickle.dumps(Evil(trace))


CONTROL = {
    chr(c) for c in [*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
}


def assert_tame(text):
    "Nothing in it drives a terminal, or swamps it."
    found = set(text) & (CONTROL - {"\n"})
    assert not found, (found, text)
    assert len(text) < 40_000, len(text)
