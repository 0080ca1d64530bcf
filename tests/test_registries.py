"Settings that choose by name allow exactly the names of the registry that they choose from."

import importlib
import types
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from ccf_batch.cf.encoder import ENCODERS
from ccf_batch.lm.prompt import TEMPLATES
from ccf_batch.model.engines import ENGINES
from ccf_batch.model.keep import KEEP
from ccf_batch.model.trainer import LOSSES
from ccf_batch.settings import Settings

SQL = Path(__file__).resolve().parents[1] / "sql" / "rules"


def rules() -> set[str]:
    "Statements that remove scored rows; `no_margin` is applied in any case, before the others."
    files = SQL.glob("*.sql")
    return {f.stem for f in files if "\nDELETE FROM scored" in f.read_text()} - {"no_margin"}


REGISTRIES = {
    "cf.encoder": set(ENCODERS),
    "prompt.template": {"auto", *TEMPLATES},
    "score.engine": {"auto", *ENGINES},
    "model.keep": set(KEEP),
    "train.loss": set(LOSSES),
    "rules.apply": rules(),
}
# chosen by conditions in the code that reads them: there is no mapping to compare with
CONDITIONS = {
    "ingest.time_unit",
    "candidates.exclude_seen",
    "model.dtype",
    "cf.out_of_fold",
    "fusion.mix",
    "fusion.pool",
    "train.stages",
    "train.negatives_from",
    "checks.on_failure",
}


def literals(annotation) -> set[str]:
    "The values that a type allows by name; those of a list's or union's members count."
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    if get_origin(annotation) in (list, types.UnionType):
        return set().union(*map(literals, get_args(annotation)))
    return set()


def choices(group: type[BaseModel], prefix: str = "") -> dict[str, set[str]]:
    "Every key of the tree that chooses by name, with the names that it allows."
    found = {}
    for name, field in group.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= choices(field.annotation, f"{prefix}{name}.")
        elif names := literals(field.annotation):
            found[prefix + name] = names
    return found


CHOICES = choices(Settings)


@pytest.mark.parametrize("key", REGISTRIES)
def test_a_choice_is_equal_to_its_registry(key):
    assert CHOICES[key] == REGISTRIES[key]


def test_every_choice_has_a_registry_or_is_known_to_have_none():
    assert set(CHOICES) == REGISTRIES.keys() | CONDITIONS


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_the_class_of_its_module(name):
    module = importlib.import_module(f"ccf_batch.cf.{name}")
    assert getattr(module, ENCODERS[name]).__module__ == module.__name__
