"""Edit the text of a model 1,000 times and open each: `fuzz_ranker.py ranker.txt COLUMN...`.

Prints how many were refused and how many scored finite numbers; any other end is a failure.
"""

import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from ccf_batch.base.errors import InputError
from ccf_batch.candidates import ranker

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")
ODD = ["0", "-1", "1", "7", "-7", "255", "999999999999", "-2147483649", "1e308", "1e999", "-1e-320"]
ODD += ["nan", "inf", "", "1 2", "0x10", "1_0", "+1", "1.", "٣", "\x00", "9" * 400]
KEYS = [
    "num_cat=2",
    "cat_boundaries=0 1",
    "is_linear=1",
    "leaf_const=1 2",
    "Tree=9",
    "objective=binary",
]


def edit_number(text, rng):
    "Replace a number."
    found = rng.choice(list(NUMBER.finditer(text)))
    new = rng.choice([*ODD, str(rng.randrange(-9, 9)), f"{rng.gauss(0, 1):.17g}"])
    return text[: found.start()] + new + text[found.end() :]


def edit_digit(text, rng):
    "Replace a digit, so that all lengths stay as they are."
    found = rng.choice(list(re.finditer(r"\d", text)))
    return text[: found.start()] + str(rng.randrange(10)) + text[found.end() :]


def edit_value(text, rng):
    "Replace a value of an array of numbers by another number of the same length."
    array = rng.choice(list(re.finditer(r"(?m)^(?:threshold|leaf_value|split_gain)=(.*)$", text)))
    found = rng.choice(list(NUMBER.finditer(text, array.start(1), array.end(1))))
    new = f"{rng.random():.30f}"[: len(found[0])]
    return text[: found.start()] + new + text[found.end() :]


def edit_child(text, rng):
    "Point a node at another one: at itself, at the root, out of range …"
    array = rng.choice(list(re.finditer(r"(?m)^(?:left|right)_child=(.*)$", text)))
    values = array[1].split(" ")
    values[rng.randrange(len(values))] = rng.choice([*values, "0", "1", "5", "-5", "20", "-20"])
    rng.choice([rng.shuffle, lambda x: x.reverse(), len])(values)
    return text[: array.start(1)] + " ".join(values) + text[array.end(1) :]


def edit_lines(text, rng):
    "Delete, repeat, exchange or insert lines."
    lines = text.split("\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    rng.choice(
        [
            lambda: lines.pop(a),
            lambda: lines.insert(a, lines[a]),
            lambda: lines.insert(a, lines[b]),
            lambda: lines.insert(a, rng.choice(KEYS)),
            lambda: lines.__setitem__(slice(a, a + 1), [lines[b]]),
            lambda: lines.__setitem__(slice(min(a, b), max(a, b)), []),
        ]
    )()
    return "\n".join(lines)


def edit_span(text, rng):
    "Cut the text off, delete a piece, repeat one, or change letters."
    a = rng.randrange(len(text))
    b = a + rng.randrange(1, 60)
    return rng.choice(
        [
            text[:a],
            text[:a] + text[b:],
            text[:b] + text[a:],
            text[:a] + rng.choice("\x00\r\t é=:[]-") + text[a + 1 :],
            text[:a] + text[a:b].swapcase() + text[b:],
            text.replace(rng.choice(["feature", "_", "tree", "leaf", " ", "\n"]), "x", 1),
        ]
    )


def edited(text, rng):
    "Make an edit; another one where the text has nothing of its kind any more."
    while True:
        try:
            return rng.choice(EDITS)(text, rng)
        except (IndexError, ValueError):
            continue


EDITS = [edit_number, edit_digit, edit_value, edit_child, edit_lines, edit_span]


def resized(text):
    "Correct the line `tree_sizes`, so that what was edited within trees is looked at."
    blocks = re.split(r"(?=^Tree=)", text.partition("end of trees\n")[0], flags=re.M)[1:]
    sizes = " ".join(str(len(block)) for block in blocks)
    return re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", text)


def edited_texts(text, count=1000):
    "Yield edited texts, the same ones every time."
    rng = random.Random(0)
    while count:
        new = text
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            new = edited(new or text, rng)
        if rng.random() < 0.7:
            new = resized(new)
        if new != text:
            count -= 1
            yield new


def main(file, *columns):
    text = Path(file).read_text("ascii")
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(200, len(columns))) * 50).astype(np.float32)
    features[rng.random(features.shape) < 0.2] = np.nan
    fit = ranker.Fit(
        kind="trees",
        columns=list(columns),
        rounds=4,
        penalty=None,
        chosen="given",
        nights=1,
        groups=1,
        left_out=0,
        rows=1,
        positives=1,
        seed=0,
    )
    counts = Counter()
    for new in edited_texts(text):
        try:
            score = ranker.Trees.from_text(fit, new).score(features)
        except InputError as e:
            assert "train again" in str(e) and "\n" not in str(e)
            counts["refused"] += 1
        else:
            assert np.isfinite(score).all()
            counts["scored"] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
