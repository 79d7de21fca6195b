"""ONNX models with random damage: each is read, or refused with a typed error; `make fuzz-onnx` tries thousands."""

from __future__ import annotations

from tests.fuzz.onnx_mutations import base_models, campaign, mutation

COUNT, SEED = 200, 3


def test_damage_to_a_model_gets_a_typed_error() -> None:
    outcomes, failures = campaign(COUNT, SEED)
    assert not failures, f"seed {SEED}: {failures}; python -m tests.fuzz.onnx_mutations --seed {SEED} --only NUMBER"
    assert outcomes["ModelError"] + outcomes["UnsupportedModelError"] > COUNT / 3, "or the damage is none"
    assert outcomes["planned"] > 5, "or nothing gets beyond the front end"


def test_mutations_depend_on_seed_and_number_only() -> None:
    models = base_models()
    assert mutation(models, 1, 7) == mutation(models, 1, 7)
    assert mutation(models, 1, 7) != mutation(models, 1, 8)
