"What becomes of rows: repeats, conflicts, ids, times, structured attributes; and what ingest says of them."

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from files_of_users import attributes, put, rejects, rows, run

from ccf_batch.base.errors import InputError

EVENTS = '[ingest]\ninteractions = "e.csv"\n'
BOTH = EVENTS + 'items = "i.csv"\n'


@pytest.fixture
def work(tmp_path):
    "A workspace and, in it, an empty folder `data` for somebody's files."
    (tmp_path / "data").mkdir()
    return tmp_path


def kinds(work):
    "(file, row, kind) of all that was left out."
    return [(r["file"], r["row"], r["kind"]) for r in rejects(work) if not r["kept"]]


def printed(capsys, file):
    "Numbers of the line of a file: read, kept, repeated, in conflict, rejected."
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (line,) = [words for words in lines if words[1:2] == [file] and len(words) == 7]
    return [int(number.replace(",", "")) for number in line[2:]]


# --- repeats and conflicts ---------------------------------------------------------------------------


def test_a_shop_where_people_buy_twice_a_day_is_read_at_the_defaults(work, capsys):
    "A5: dates without times; a tenth of the purchases is made twice on a day."
    days = [f"2025-04-{1 + n % 28:02}" for n in range(100)]
    once = [f"u{n},i{n % 7},{day}" for n, day in enumerate(days)]
    put(work, e_csv="user_id,item_id,event_ts\n" + "\n".join(once + once[:10]) + "\n")
    assert run(work, toml=EVENTS)["events"] == 100
    assert printed(capsys, "e.csv") == [110, 100, 10, 0, 0]
    assert {r["kind"] for r in rejects(work)} == {"repeat"}


@pytest.mark.parametrize(
    ("column", "values", "counts"),
    [
        ("label", ["0", "1"], 1),
        ("label", ["1", "0"], 1),
        ("rating", ["2", "5"], 5),
        ("rating", ["5", "2"], 2),
        ("rating", ["5", "2", "5"], 5),
    ],
)
def test_of_rows_that_disagree_one_counts_by_a_rule(work, capsys, column, values, counts):
    "A4: a like counts over its absence, of ratings the last."
    lines = [f"u1,i1,2025-01-01,{v}" for v in values]
    put(work, e_csv=f"user_id,item_id,event_ts,{column}\n" + "\n".join(lines) + "\n")
    liked = "[domain]\nliked_above = 3\n" if column == "rating" else ""
    run(work, toml=liked + EVENTS)
    (event,) = rows(work, "interactions")
    assert event[column] == counts
    distinct = len(set(values))
    assert printed(capsys, "e.csv") == [len(values), 1, len(values) - distinct, distinct - 1, 0]


def test_four_hundred_clicks_are_not_lost(work):
    "A4: each item is shown, and clicked in the same second."
    pairs = [f"u{n},i{n % 9},2025-01-01,{label}" for n in range(400) for label in (0, 1)]
    put(work, e_csv="user_id,item_id,event_ts,label\n" + "\n".join(pairs) + "\n")
    run(work, toml=EVENTS)
    assert sum(e["label"] for e in rows(work, "interactions")) == 400


def test_a_corrected_event_counts_as_its_last_row_has_it(work):
    events = "u1,i1,2025-01-01,e1,2\nu1,i1,2025-01-02,e1,4\nu1,i1,2025-01-02,e2,4\n"
    put(work, e_csv="user_id,item_id,event_ts,event_id,rating\n" + events)
    run(work, toml="[domain]\nliked_above = 3\n" + EVENTS)
    assert [(e["event_id"], e["rating"]) for e in rows(work, "interactions", ["event_id"])] == [
        ("e1", 4),
        ("e2", 4),
    ]
    assert kinds(work) == [("e.csv", 2, "conflict")]


def test_an_event_that_was_delivered_twice_arrived_when_it_first_did(work):
    events = "u1,i1,2025-01-01,2025-01-09\nu1,i1,2025-01-01,2025-01-02\n"
    put(work, e_csv="user_id,item_id,event_ts,ingested_ts\n" + events)
    run(work, toml=EVENTS)
    (event,) = rows(work, "interactions")
    assert event["ingested_ts"] == dt.datetime(2025, 1, 2)
    assert kinds(work) == [("e.csv", 2, "repeat")]


def test_faults_alone_count_against_max_rejected(work):
    lines = ["u1,i1,2025-01-01"] * 50 + [f"u{n},i1,2025-01-02" for n in range(98)] + ["u1,i1,soon"]
    put(work, e_csv="user_id,item_id,event_ts\n" + "\n".join(lines) + "\n")
    run(work, toml=EVENTS)
    put(work, e_csv="user_id,item_id,event_ts\n" + "\n".join(lines + ["u2,i1,soon"]) + "\n")
    with pytest.raises(InputError, match="2 of 150 rows of interactions are rejected"):
        run(work, toml=EVENTS)


def test_a_log_with_the_titles_in_each_row_is_its_own_catalogue(work, capsys):
    "A5: items are read of the file of interactions."
    lines = [f"u{n},i{n % 5},2025-01-{1 + n % 28:02},Title {n % 5}" for n in range(100)]
    put(work, e_csv="user_id,item_id,event_ts,title\n" + "\n".join(lines) + "\n")
    found = run(work, toml=EVENTS + 'items = "e.csv"\n')
    assert (found["events"], found["items"]) == (100, 5)
    assert {i["title"] for i in rows(work, "items")} == {f"Title {n}" for n in range(5)}


@pytest.mark.parametrize(
    ("newest_by", "title"), [("", "Old"), ("columns = { updated_at = 'changed' }\n", "New")]
)
@pytest.mark.parametrize("times", [("2025-01-01", "2025-02-01"), ("9", "10")])
def test_of_items_that_disagree_the_newest_or_the_first_counts(work, newest_by, title, times):
    "A5: 6 of 86 conflicting titles were refused."
    lines = [f"i{n},Title {n},{times[0]}" for n in range(1, 20)]
    table = [f"i0,Old,{times[0]}", *lines, f"i0,New,{times[1]}", lines[3]]
    put(
        work,
        e_csv="user_id,item_id,event_ts\nu1,i0,2025-01-01\n",
        i_csv="item_id,title,changed\n" + "\n".join(table) + "\n",
    )
    run(work, toml=BOTH + newest_by)
    assert {i["item_id"]: i["title"] for i in rows(work, "items")}["i0"] == title
    first = ("i.csv", 2 if newest_by else 22, "conflict")
    assert sorted(kinds(work)) == sorted([first, ("i.csv", 23, "repeat")])


# --- ids -----------------------------------------------------------------------------------------------


def test_blanks_around_ids_are_trimmed(work):
    "A7: 60 people became 120."
    put(
        work,
        e_csv="user_id,item_id,event_ts\nu1,i1,2025-01-01\nu1 ,\ti2,2025-01-02\n",
        i_csv="item_id,title\n i1,A\ni2\t,B\n",
    )
    run(work, toml=BOTH)
    assert [(e["user_id"], e["item_id"]) for e in rows(work, "interactions")] == [
        ("u1", "i1"),
        ("u1", "i2"),
    ]
    assert [i["item_id"] for i in rows(work, "items")] == ["i1", "i2"]


def test_numbers_with_blanks_are_numbers(work):
    put(work, e_csv="user_id,item_id,event_ts\n1,5,2025-01-01\n 1 ,6,2025-01-02\n")
    run(work, toml=EVENTS)
    assert [e["user_id"] for e in rows(work, "interactions")] == [1, 1]


def test_ids_that_differ_by_case_or_form_alone_are_told(work, capsys):
    events = "A1,é,2025-01-01\na1,e\u0301,2025-01-02\nb2,x,2025-01-03\n"
    put(work, e_csv="user_id,item_id,event_ts\n" + events)
    assert run(work, toml=EVENTS)["users"] == 3
    out = capsys.readouterr().out
    assert (
        "2 ids of users differ from another one by case or Unicode form only, as 'A1' and 'a1'"
        in out
    )
    assert "2 ids of items differ" in out


# --- times ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("45717.5", "looks like the number of a day in a spreadsheet"),
        ("2019", "looks like a year"),
        ("3", "is too small a number for a time"),
        ("86400", "is too small a number for a time"),
        ("1741942800123456789", "looks like nanoseconds: set ingest.time_unit to ns"),
        ("20251341", "looks like a date without dashes"),
    ],
)
def test_numbers_that_are_no_times_are_refused_by_name(work, text, reason):
    "A8."
    put(work, e_csv=f"user_id,item_id,event_ts\nu1,i1,{text}\n")
    with pytest.raises(InputError, match=reason):
        run(work, toml=EVENTS)


@pytest.mark.parametrize("number", [1741942800123456789, 1.741942800123456e18])
def test_nanoseconds_are_read_where_the_settings_say_so(work, number):
    event = {"user_id": ["u"], "item_id": ["i"], "event_ts": [number]}
    pq.write_table(pa.table(event), work / "data" / "e.parquet")
    run(work, "--ingest.time-unit", "ns", toml=EVENTS.replace("csv", "parquet"))
    (event,) = rows(work, "interactions")
    assert event["event_ts"] == dt.datetime(2025, 3, 14, 9, 0, 0, 123456)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_without_signs_are_dates_in_every_unit(work, unit):
    put(work, e_csv="user_id,item_id,event_ts\nu,a,20250306\nu,b,20250306020000\n")
    run(work, "--ingest.time-unit", unit, toml=EVENTS)
    assert [e["event_ts"] for e in rows(work, "interactions")] == [
        dt.datetime(2025, 3, 6),
        dt.datetime(2025, 3, 6, 2),
    ]


def test_a_lake_that_ends_before_1990_is_told(work, capsys):
    put(work, e_csv="user_id,item_id,event_ts\nu,a,400000000\n")
    run(work, toml=EVENTS)
    assert (
        "the last event is of 1982-09-04: is the column of event_ts a time?"
        in capsys.readouterr().out
    )


# --- structured attributes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "separator", "values"),
    [
        ('["A", "B, C"]', ",", ["A", "B, C"]),
        ("['A', 'B']", "", ["A", "B"]),
        ("('A', 'B')", "", ["A", "B"]),
        ("['A' 'B'\n 'C']", "", ["A", "B", "C"]),
        ("[A, B]", ";", ["[A, B]"]),
        ("[['A'], ['B', 'A']]", "", ["A", "B"]),
        ('[1, 2.5, true, null, "x"]', "", ["1", "2.5", "true", "x"]),
        ("[]", "", None),
        ("(500) Days", "", ["(500) Days"]),
        ("(A, B)", ",", ["(A", "B)"]),
    ],
)
def test_lists_that_are_written_as_text_are_lists(work, text, separator, values):
    "A9."
    quoted = '"' + text.replace('"', '""') + '"'
    put(
        work,
        e_csv="user_id,item_id,event_ts\nu,i,2025-01-01\nu,j,2025-01-01\n",
        i_csv=f"item_id,title,genres\ni,T,{quoted}\nj,T,Z\n",
    )
    tags = f'separators = {{ genres = "{separator}" }}\n' if separator else ""
    run(work, toml='[attributes]\ncategorical = ["genres"]\n' + BOTH + tags)
    assert attributes(rows(work, "items")[0]).get("genres") == values


@pytest.mark.parametrize(("one", "other"), [("[A, B]", "[C]"), ("{A,B}", "{C}"), ('{A,"B"}', "{}")])
def test_words_in_brackets_are_lists_where_all_values_are(work, one, other):
    "As Java and PostgreSQL print lists; a library's [Roman] among other subjects stays a text."
    put(work, e_csv="user_id,item_id,event_ts\nu,i,2025-01-01\nu,j,2025-01-01\n")
    items = {"item_id": ["i", "j"], "title": ["T", "U"], "genres": [one, other]}
    pq.write_table(pa.table(items), work / "data" / "i.parquet")
    run(work, toml=PARQUET)
    assert attributes(rows(work, "items")[0]) == {"genres": ["A", "B"]}


STRUCTURES = {
    "repr": "[{'id': 16, 'name': 'Animation'}, {'id': 35, 'name': 'Comedy'}]",
    "json": '[{"id": 16, "name": "Animation"}, {"id": 35, "name": "Comedy"}]',
    "list of struct": [{"id": 16, "name": "Animation"}, {"id": 35, "name": "Comedy"}],
    "struct of list": {"id": 1, "name": ["Animation", "Comedy"]},
}


def write_items(work, value, kind=None):
    put(work, e_csv="user_id,item_id,event_ts\nu,i,2025-01-01\nu,j,2025-01-01\n")
    items = {"item_id": ["i", "j"], "title": ["T", "U"], "genres": pa.array([value, None], kind)}
    pq.write_table(pa.table(items), work / "data" / "i.parquet")


PARQUET = '[attributes]\ncategorical = ["genres"]\n' + BOTH.replace("i.csv", "i.parquet")


@pytest.mark.parametrize("form", STRUCTURES)
def test_of_structures_the_named_field_counts(work, form):
    "A9: Kaggle's movies_metadata, and Parquet's structs."
    write_items(work, STRUCTURES[form])
    with pytest.raises(
        InputError, match=r"'genres' holds structures; their fields are id, name"
    ) as e:
        run(work, toml=PARQUET)
    assert '[ingest.fields]: genres = "its name"' in str(e.value)
    with pytest.raises(
        InputError, match=r"no structure of the attribute 'genres' has the field 'x'"
    ):
        run(work, toml=PARQUET + 'fields = { genres = "x" }\n')
    assert not (work / "lake").exists()
    run(work, toml=PARQUET + 'fields = { genres = "name" }\n')
    assert attributes(rows(work, "items")[0]) == {"genres": ["Animation", "Comedy"]}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["a", "b"], pa.list_(pa.string(), 2)),
        (["a", "b"], pa.large_list(pa.string())),
        ([["a"], ["b", "a"]], pa.list_(pa.list_(pa.string()))),
        (["a", "b"], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    ],
)
def test_lists_of_parquet_are_lists_of_whatever_kind(work, value, kind):
    "A9: a list of fixed size became '[a, b]'."
    write_items(work, value, kind)
    run(work, toml=PARQUET)
    assert attributes(rows(work, "items")[0]) == {"genres": ["a", "b"]}


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, '["a", {]', "{'a': b, 'c': ]}"])
def test_a_broken_list_is_told_and_gives_no_category(work, capsys, text):
    write_items(work, text)
    run(
        work,
        toml=PARQUET.replace('categorical = ["genres"]', "text = []\ncategorical = []")
        + 'separators = { genres = "|" }\n',
    )
    assert attributes(rows(work, "items")[0]) == {}
    assert "1 values of the attribute 'genres' are broken lists" in capsys.readouterr().out


def test_decimal_commas_of_an_attribute_are_named(work):
    "B2: the cause was dropped on the way."
    put(
        work,
        e_csv="user_id,item_id,event_ts\nu,i,2025-01-01\n",
        i_csv='item_id,title,price\ni,T,"9,99"\nj,U,"1.234,50"\n',
    )
    with pytest.raises(
        InputError, match=r"no value of the attribute 'price' of attributes\.numeric"
    ) as e:
        run(work, toml='[attributes]\nnumeric = ["price"]\n' + BOTH)
    assert "2 × price is no number: write the decimal comma as a point" in str(e.value)
    assert "i.csv, row 2, '9,99'" in str(e.value)
    assert [r["value"] for r in rejects(work, "lake.rejects")] == ["9,99", "1.234,50"]


# --- items before interactions ---------------------------------------------------------------------------


def test_items_that_cannot_be_read_are_told_before_what_they_cause(work):
    "B1: items in latin-1 made their events strangers."
    lines = "".join(f"u,i{n},2025-01-01\n" for n in range(10))
    items = b"item_id,title\n" + b"".join(
        b"i%d,Caf%s\n" % (n, b"\xe9" if n < 4 else b"e") for n in range(10)
    )
    put(work, e_csv="user_id,item_id,event_ts\n" + lines, i_csv=items)
    with pytest.raises(InputError, match="4 of 10 rows of items are rejected") as e:
        run(work, toml=BOTH)
    assert "row is not UTF-8: convert the file" in str(e.value)


def test_an_unknown_item_names_rejected_items_as_its_reason(work):
    "B1: few rows of items are rejected, but one that many want."
    lines = "".join(f"u{n},i0,2025-01-01\n" for n in range(10))
    items = b"item_id,title\n" + b"".join(
        b"i%d,Caf%s\n" % (n, b"\xe9" if n < 1 else b"e") for n in range(200)
    )
    put(work, e_csv="user_id,item_id,event_ts\nu,i1,2025-01-01\n" + lines, i_csv=items)
    with pytest.raises(InputError, match="10 of 11 rows of interactions are rejected") as e:
        run(work, toml=BOTH)
    assert "is in no row of items (1 of their 200 rows are rejected)" in str(e.value)


# --- years, totals, titles -------------------------------------------------------------------------------


def test_a_year_is_taken_from_titles_only_where_most_end_in_one(work):
    def years(titles):
        lines = "".join(f"i{n},{t}\n" for n, t in enumerate(titles))
        put(
            work,
            e_csv="user_id,item_id,event_ts\nu,i0,2025-01-01\n",
            i_csv="item_id,title\n" + lines,
        )
        run(work, toml=BOTH)
        return [attributes(i).get("year") for i in rows(work, "items", ["item_id"])]

    assert years(["Heat (1995)", "Ran (1985)", "Lamp"]) == [["1995"], ["1985"], None]
    assert years(["Calendar (2025)", "Lamp", "Cup"]) == [None, None, None]


def test_a_number_that_ranks_items_as_their_events_do_is_named(work, capsys):
    "Point 7: a total that grows tells the past what comes later."
    events = "".join(f"u{n},i{i},2025-01-01\n" for i in range(30) for n in range(i + 1))
    items = "".join(f"i{i},T,{100 * i + 7},{(i * 7) % 30}\n" for i in range(30))
    put(
        work,
        e_csv="user_id,item_id,event_ts\n" + events,
        i_csv="item_id,title,sold,price\n" + items,
    )
    run(work, toml='[attributes]\nnumeric = ["sold", "price"]\n' + BOTH)
    out = capsys.readouterr().out
    assert (
        "'sold' ranks 30 items as their events of all time do (Spearman's correlation 1.00)" in out
    )
    assert "'price'" not in out


def test_a_catalogue_without_titles_is_told_at_ingest(work, capsys):
    "B7: `score` stopped after a training run."
    put(work, e_csv="user_id,item_id,event_ts\nu,i0,2025-01-01\n")
    run(work, toml=EVENTS)
    assert (
        "1 of 1 items have no title, more than checks.max_untitled = 0.5: score will stop"
        in capsys.readouterr().out
    )


def test_the_output_has_a_line_a_file_and_says_what_it_lacks(work, capsys):
    "A1: which files lack what; files of one name are told apart by their folders."
    (work / "data/may").mkdir()
    (work / "data/june").mkdir()
    (work / "data/may/e.csv").write_text("user_id,item_id,event_ts,note\nu,i,2025-05-01,x\n")
    (work / "data/june/e.csv").write_text(
        "user_id,item_id,event_ts,label\nu,i,2025-06-01,0\nu,i,2025-06-01,0\nu,i,soon,1\n"
    )
    run(work, toml='[ingest]\ninteractions = "*/e.csv"\nmax_rejected = 0.5\n')
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if line.strip().startswith("interactions")]
    assert lines[:2] == [
        ["interactions", "june/e.csv", "3", "1", "1", "0", "1"],
        ["interactions", "may/e.csv", "1", "1", "0", "0", "0", "label"],
    ]
    assert "not used of interactions: note" in out


def test_quotes_within_titles_are_named_as_the_cause(work):
    "B1: HetRec's artists.dat and MIND's news, tabs between columns and quotes as they come."
    lines = "".join(f"u\ti{n}\t2025-01-01\n" for n in range(10))
    items = "".join(f'i{n}\t"Weird Al" number {n}\n' if n < 2 else f"i{n}\tT\n" for n in range(10))
    put(work, e_csv="user_id\titem_id\tevent_ts\n" + lines, i_csv="item_id\ttitle\n" + items)
    with pytest.raises(InputError, match="2 of 10 rows of items are rejected") as e:
        run(work, toml=BOTH)
    assert (
        "2 × row has a quote that is not closed, or text after it: double quotes within a value (first: i.csv, row 2"
        in str(e.value)
    )


def test_backslashes_before_quotes_are_named_as_the_cause(work):
    "B1: Book-Crossing."
    lines = "".join(f"u;i{n};2025-01-01\n" for n in range(10))
    items = "".join(f'i{n};"T \\"x\\" {n}"\n' if n < 2 else f'i{n};"T"\n' for n in range(10))
    put(work, e_csv="user_id;item_id;event_ts\n" + lines, i_csv="item_id;title\n" + items)
    with pytest.raises(InputError, match="2 of 10 rows of items are rejected") as e:
        run(work, toml=BOTH)
    assert "row has a quote that is not closed, or text after it" in str(e.value)
