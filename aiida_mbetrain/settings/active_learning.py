"""Choice of the clusters of a round that are worth a label."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from aiida_mbetrain.settings.base import Count, Positive, Seed, Settings, as_list

Criterion = Literal["variance_reduction", "uncertainty", "random"]

Share = Annotated[float, Field(gt=0, lt=1)]


class ActiveLearning(Settings):
    """Choice of the clusters of a round that are worth a label."""

    clusters_per_round: Count = Field(20, description="Clusters that a round labels for training.")
    cost_per_round: Positive | None = Field(
        None, description="Cost of the labels of a round, that of the cheapest candidate being 1; None: no limit."
    )
    criterion: Criterion = Field(
        "variance_reduction",
        description="What is largest for its cost: the uncertainty that a label takes from all candidates, or that of "
        "the candidate alone; or choice by chance.",
    )
    cost_exponent: Annotated[float, Field(ge=0, le=10)] = Field(
        3.0, description="Of the cost of a calculation in its number of electrons; 0: every calculation costs the same."
    )
    n_validation: Count = Field(
        20, description="Clusters of the first round that decide the epoch and calibrate the uncertainty."
    )
    n_test: Count = Field(20, description="Clusters of the first round that every round is judged by.")
    held_out: Annotated[tuple[Share, Share], BeforeValidator(as_list)] = Field(
        (0.1, 0.2), description="Shares of the first round's frames that validation and test clusters are taken from."
    )
    gap: Annotated[int, Field(ge=0)] = Field(1, description="MD frames left out at the seams between these parts.")
    rng_seed: Seed = Field(42, description="Seed of what is chosen by chance, and of the held-out frames.")

    def _check(self) -> None:
        if sum(self.held_out) >= 1:
            given = ", ".join(f"{share:g}" for share in self.held_out)
            raise ValueError(f"held_out = ({given}): give shares whose sum leaves frames for training")
