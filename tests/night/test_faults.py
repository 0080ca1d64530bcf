"Whatever fails at whatever step: readers see the old or the new, and a rerun makes the new."

import json
import subprocess
import sys
from pathlib import Path

import faults
import pytest

TRIED = {"score, first time": ("kill", "power")}  # the others differ little from `score`


def check(scene):
    "Try the faults of a scene in a process of its own, and judge what it found."
    kinds = TRIED.get(scene, faults.FAULTS)
    command = [sys.executable, Path(faults.__file__), scene, *kinds]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert not found["lost"], found["words"]
    tried = dict.fromkeys(kinds, 0)
    for _, fault, count in found["tried"]:
        tried[fault] += count
    # a step that writes is one call of the seam, whatever it writes: an ingest has few
    assert min(tried.values()) >= 1 and found["steps"] >= 30, tried
    assert all(tried[kind] == found["steps"] for kind in ("error", "kill") if kind in kinds)
    assert found["saw_old"] and found["saw_new"]


# the scenes of the whole command are in `test_faults_of_score`: a file is one process's work
@pytest.mark.parametrize("scene", [scene for scene in faults.SCENES if "score" not in scene])
def test_nothing_is_lost_at_any_step(scene):
    check(scene)
