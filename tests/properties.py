"How often the property tests try."

from hypothesis import settings

FRESH = 500


def examples(
    count: int,  # Enough where the examples are the same ones every time
) -> settings:
    "Settings of a property test: `count` examples; with `--hypothesis-profile=fresh` at least 500."
    fresh = settings.get_current_profile_name() == "fresh"
    return settings(max_examples=max(count, FRESH) if fresh else count)
