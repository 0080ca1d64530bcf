"What several test files use: fixtures, how often properties are tried, and the order of files."

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before anything is imported that makes threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings
from properties import FRESH

# The same examples every time; `--hypothesis-profile=fresh` tries new ones, and more of them. Either
# says how to try a failed example again. How quick a machine is decides nothing.
settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
settings.register_profile(
    "fresh", settings.get_profile("fixed"), derandomize=False, max_examples=FRESH
)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def shared() -> Path:
    "Folder of the shared real data sets; skips where there is none."
    here = Path(__file__).resolve().parents[1]
    for folder in (os.environ.get("CCF_SHARED"), here.parent / "shared"):
        if folder and (Path(folder) / "data").is_dir():
            return Path(folder) / "data"
    pytest.skip("needs the shared data sets: set CCF_SHARED or put them at ../shared")


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    "A workspace with the embedded sample as its lake; copy it before changing anything."
    from ccf_batch import ingest
    from ccf_batch.base import console

    workspace = tmp_path_factory.mktemp("sample") / "w"
    flags = ["--sample", "--config", str(workspace / "ccf.toml")]
    assert (
        console.main(ingest.IngestCommand, ingest.run, "ingest", missing_ok=True, argv=flags) == 0
    )
    return workspace


@pytest.fixture
def sigint_stops() -> Iterator[None]:
    """SIGINT interrupts this process and the processes that it starts, also where it was ignored.

    The background jobs of a shell (`nohup … &`) start with SIGINT ignored, and so do their children.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_collection_modifyitems(items):
    "Files with slow tests come first: no process should begin one when the others are about to end."
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter):
    "What was tried of input that means harm, where somebody asked for more than the tests' own share."
    harm = sys.modules.get("harm")
    if harm and harm.TIMES > 1:
        for layer, inputs in sorted(harm.TRIED.items()):
            terminalreporter.write_line(f"{layer}: {inputs:,} inputs tried")
