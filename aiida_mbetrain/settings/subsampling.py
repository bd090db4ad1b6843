"""Subsampling of frames."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from aiida_mbetrain.settings.base import Count, NonNegative, Seed, Settings, as_list


class Subsampling(Settings):
    """Choice of frames from trajectories and cluster sets."""

    n_frames: Count = Field(description="Frames to keep, from all sets together.")
    method: Literal["farthest_point", "k_means", "random"] = Field(
        "farthest_point",
        description="Farthest from what was picked, nearest to the centres of clusters, both in feature space; or "
        "by chance.",
    )
    random_share: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="Share of the frames picked by chance.")
    stratify_by: Annotated[tuple[Literal["source", "temperature", "size", "orbit"], ...], BeforeValidator(as_list)] = (
        Field(
            ("source", "temperature", "size", "orbit"),
            description="Frames that differ in one of these belong to different strata, each picked from by itself.",
        )
    )
    allocation: Literal["equal", "proportional"] = Field(
        "equal", description="The same number of frames from every stratum as far as it has them, or the same share."
    )
    temperatures_K: dict[str, NonNegative] = Field(
        {}, description="Temperature by name of the set, where its frames do not say (K)."
    )
    rng_seed: Seed = Field(42, description="Seed of random picks and of the first centres of k-means.")

    @field_validator("stratify_by")
    @classmethod
    def _distinct(cls, traits: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(traits)) != len(traits):
            raise ValueError("give each of them once")
        return traits
