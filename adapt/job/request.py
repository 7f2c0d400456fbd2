"""What a job was asked to do, as it stands in job.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapt.budget import Budget, named, own_resources, parse_names
from adapt.fleet.choice import MAX_DEVICES, DeviceChoice
from adapt.methods.base import Settings

__all__ = ["JobRequest"]

# Pixel values beyond are no normalisation that anybody trains with.
_MAX_PIXEL = 1e6
_Pixel = Annotated[float, Field(ge=-_MAX_PIXEL, le=_MAX_PIXEL)]


class JobRequest(BaseModel):
    """Everything that decides a job's result, so that a resumed job ends as it would have.

    `directory` is where modules of `data` are looked for, `tables` the table file if it is not
    that of the configuration; `threads` are those of training. The budget has to be met on all
    `devices`. With `target_accuracy`, a share of the held-out examples, the network shall need as
    little as possible of `minimise`, and no more than the budget. Without `exact`, times of kernels
    are interpolated where a network's latency is then still known well enough. `energy` is what
    tells the energy of kernels: the device's meter, or a model. On the device "eyeriss" nothing is
    measured, and how to measure has no meaning.

    Candidates are carried out by `workers` of the `executor`, each with `threads`; examples take up
    to `data_memory` GB of memory, a share of what is free if None. These three change no result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    model_sha256: str
    data: str
    directory: Path | None = None
    holdout: float = Field(default=0.1, gt=0, lt=1)
    pixel_range: tuple[_Pixel, _Pixel] = (0.0, 255.0)
    resize: bool = False
    budget: list[str] = []
    target_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    minimise: str = "latency"
    method: Literal["netadapt", "netadapt-paper", "uniform"] = "netadapt"
    compare: list[Literal["uniform"]] = []
    quantize: Literal["float32", "int8"] = "float32"
    energy: Literal["meter", "eyeriss"] = "meter"
    devices: Annotated[list[DeviceChoice], Field(min_length=1, max_length=MAX_DEVICES)] = [
        DeviceChoice()
    ]
    exact: bool = False
    threads: int = Field(ge=1, le=1024)
    executor: Literal["here", "processes", "ray"] = "here"
    workers: int = Field(default=1, ge=1, le=1024)
    mixed_precision: bool = False
    data_memory: float | None = Field(default=None, ge=0, le=1e6)
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    tables: Path | None = None
    settings: Settings = Settings()

    @model_validator(mode="after")
    def _check_pixel_range(self) -> JobRequest:
        low, high = self.pixel_range
        if low >= high:
            raise ValueError(f"--pixel-range {low:g} {high:g}: the first must be the smaller")
        return self

    @property
    def labels(self) -> list[str]:
        """What the devices are called."""
        return [device.label for device in self.devices]

    @property
    def limits(self) -> Budget:
        """The budget with a limit for each name, on these devices."""
        budget = Budget.parse(self.budget) if self.budget else Budget(())
        return budget.on(self.labels, self._own)

    @property
    def minimised(self) -> list[str]:
        """The names of what shall be as little as possible at the accuracy asked for, if any."""
        if self.target_accuracy is None:
            return []
        return parse_names(self.minimise, self.labels, self._own)

    @property
    def priced(self) -> frozenset[str]:
        """The names of all that a search has to know."""
        return self.limits.resources | frozenset(self.minimised)

    @property
    def aim(self) -> str:
        """What was asked for, in a few words."""
        budget = ", ".join(self.budget)
        if self.target_accuracy is None:
            return f"budget {budget}"
        least = f"least {self.minimise} at an accuracy of {self.target_accuracy:.2%}"
        return f"{least}, budget {budget}" if budget else least

    def names(self, resource: str) -> dict[str, str]:
        """By device, the name of what is needed of `resource` there; "" for all devices alike."""
        if len(self.devices) == 1 or resource not in self._own:
            return {"": resource}
        return {label: named(resource, label) for label in self.labels}

    @property
    def _own(self) -> frozenset[str]:
        return own_resources(modelled_energy=self.energy == "eyeriss")
