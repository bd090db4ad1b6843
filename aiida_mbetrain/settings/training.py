"""Training of a model: what it is trained on, its kind and size, and MACE's own settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from aiida_mbetrain.settings.base import Count, JsonObject, Positive, Seed, Settings, as_list

Share = Annotated[float, Field(ge=0, le=1)]


class TrainingFrames(Settings):
    """Choice and split of the frames that a delta model is trained on and judged by."""

    sources: Annotated[tuple[Literal["md", "phonons"], ...], BeforeValidator(as_list)] = Field(
        ("md", "phonons"), description="Sources of the frames."
    )
    sizes: Annotated[tuple[Count, ...] | None, BeforeValidator(as_list)] = Field(
        None, description="Numbers of molecules; None: all that have labels."
    )
    fractions: Annotated[tuple[Share, Share, Share], BeforeValidator(as_list)] = Field(
        (0.8, 0.1, 0.1), description="Shares of training, validation and test; related frames stay together."
    )
    block: Count | None = Field(None, description="MD frames that stay together; None: a tenth of the trajectory.")
    gap: Annotated[int, Field(ge=0)] = Field(1, description="MD frames left out at the seams between two sets.")
    test_crystals: tuple[str, ...] = Field((), description="Crystals of a campaign that are only tested on.")
    test_temperatures_K: tuple[Positive, ...] = Field((), description="Temperatures that are only tested on (K).")
    test_sizes: tuple[Count, ...] = Field((), description="Cluster sizes that are only tested on.")
    seed: Seed = Field(42, description="Seed of the split.")

    def _check(self) -> None:
        if abs(sum(self.fractions) - 1) > 1e-6 or min(self.fractions[:2]) <= 0:
            given = ",".join(f"{value:g}" for value in self.fractions)
            raise ValueError(
                f"fractions = {given}: give shares of training, validation and test that add up to 1, "
                "the first two above 0"
            )


class Training(Settings):
    """Training of a MACE model by ``mace_run_train``."""

    kind: Literal["delta", "finetune", "finetune_replay", "multihead"] = Field(
        "delta",
        description="delta: a model of reference minus baseline; finetune: the baseline, trained on with the labels of "
        "the reference; finetune_replay: likewise, beside a head that keeps to the baseline; multihead: a new model "
        "with heads for baseline and reference.",
    )
    pseudolabel_replay: bool = Field(
        False, description="Label the configurations of the replay file by the baseline, whatever labels they have."
    )
    size: Literal["small", "balanced", "stringent"] = Field(
        "small",
        description="Size of the model (that of the baseline where it is fine-tuned) and number of epochs: a laptop, "
        "a GPU hour, a GPU day.",
    )
    seed: Seed = Field(42, description="Seed of the first weights and of the order of the frames.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Compute device; auto takes CUDA where there is one."
    )
    default_dtype: Literal["float64", "float32"] | None = Field(
        None, description="Precision of the training; None: that of the size."
    )
    max_num_epochs: Count | None = Field(None, description="Passes over the training set; None: that of the size.")
    mace: JsonObject = Field(
        {}, description="Any field of MACE's configuration, such as `{r_max: 6.0, num_channels: 32}`."
    )

    @property
    def starts_from_baseline(self) -> bool:
        """True where the first weights are those of the baseline."""
        return self.kind in ("finetune", "finetune_replay")

    def _check(self) -> None:
        if self.pseudolabel_replay and self.kind != "finetune_replay":
            raise ValueError(
                f"pseudolabel_replay = True with kind = {self.kind!r}: only kind = 'finetune_replay' has a replay file"
            )
