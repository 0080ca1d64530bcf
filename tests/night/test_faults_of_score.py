"Whatever fails at whatever step of the command `score`: readers see the old or the new."

import faults
import pytest
from test_faults import check


@pytest.mark.parametrize("scene", [scene for scene in faults.SCENES if "score" in scene])
def test_nothing_is_lost_at_any_step_of_a_night(scene):
    check(scene)
