"""Random settings and YAML files end in a named error or in settings that survive their storage."""

from __future__ import annotations

from random import Random

import pytest
import yaml
from fuzzing import mutated_text, mutated_tree, refused

from aiida_mbetrain.campaigns.settings import CampaignSettings, read_campaign
from aiida_mbetrain.settings import (
    ClassicalMD,
    FiniteSubsystemFilter,
    FreeEnergy,
    Inference,
    MDSampling,
    NamedCalculator,
    PhononFilter,
    PhononSampling,
    ReferenceLabels,
    Subsampling,
    read_mapping,
)
from aiida_mbetrain.workflows.protocols import protocol_settings

CAMPAIGN = {
    "name": "test", "crystals": ["a.cif", {"node": 3, "name": "b"}], "models": {"lj": {"name": "emt"}, "m": "my.model"},
    "temperatures_K": [100.0, 200.0], "pressures_GPa": [0.1], "protocol": "fast", "rng_seed": 3, "max_jobs": 2,
    "overrides": {"md_sampling": {"md_crystal": {"time_total_fs": 100.0}}}, 
    "overrides_by_crystal": {"a": {"inference": {}}},
}  # fmt: skip
EXAMPLES = {
    ClassicalMD: ClassicalMD().to_dict(),
    MDSampling: MDSampling().to_dict(),
    FreeEnergy: FreeEnergy().to_dict() | {"supercell_matrix": [[2, 0, 0], [0, 2, 0], [0, 0, 2]]},
    PhononFilter: PhononFilter().to_dict(),
    PhononSampling: PhononSampling().to_dict(),
    FiniteSubsystemFilter: FiniteSubsystemFilter().to_dict(),
    Inference: Inference().to_dict(),
    Subsampling: Subsampling(n_frames=5).to_dict(),
    NamedCalculator: {"name": "lennard_jones", "parameters": {"sigma": 3.4}},
    ReferenceLabels: ReferenceLabels(method={"program": "tblite"}).to_dict(),
    CampaignSettings: CAMPAIGN,
}
OVERRIDES = {
    "md_sampling": {"temperature_K": 100.0, "md_crystal": {"time_total_fs": 1000.0}},
    "quasi_harmonic": {"temperatures_K": [1.0, 2.0]},
    "phonon_sampling": {"phonon_filter": {"selected_modes": [1, 2]}},
    "inference": {"device": "cpu"},
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_settings(kind, seed):
    random, n_refused = Random(f"{kind.__name__} {seed}"), 0
    for _ in range(10):
        values = mutated_tree(random, EXAMPLES[kind])
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            continue

        def survive(values=values):
            settings = kind(**values)
            assert kind(**settings.to_dict()).to_dict() == settings.to_dict()

        n_refused += refused(values, survive)
    assert n_refused > 0


@pytest.mark.parametrize("seed", range(10))
def test_overrides(seed):
    random = Random(seed)
    for _ in range(30):
        values = mutated_tree(random, OVERRIDES)
        if isinstance(values, dict):
            refused(values, lambda values=values: protocol_settings("fast", values))


@pytest.mark.parametrize("seed", range(10))
def test_yaml_files(tmp_path, seed):
    random = Random(seed)
    path = tmp_path / "file.yaml"
    for number in range(50):
        example = CAMPAIGN if number % 2 else OVERRIDES
        path.write_text(mutated_text(random, yaml.safe_dump(example)), "utf-8", errors="replace")
        if number % 2:
            refused(path.read_text(), lambda: read_campaign(path))
        else:
            refused(path.read_text(), lambda: protocol_settings("fast", read_mapping(path, "--overrides", "a mapping")))


@pytest.mark.parametrize("text", ["- {}", "a: {}", "name: {}", "md_sampling: {}", "{}: 1", "models: {}"])
@pytest.mark.parametrize(
    "part", ["[" * 2000, "[" * 1000 + "]" * 1000, "{a: " * 1000 + "1" + "}" * 1000, "9" * 5000, "2001-13-45"]
)
def test_extreme_yaml(tmp_path, text, part):
    (tmp_path / "file.yaml").write_text(text.format(part))
    assert refused(text, lambda: read_campaign(tmp_path / "file.yaml"))
