"""What a job was asked to do, as it stands in job.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapt.methods.base import Settings

__all__ = ["JobRequest"]

# Pixel values beyond are no normalisation that anybody trains with.
_MAX_PIXEL = 1e6
_Pixel = Annotated[float, Field(ge=-_MAX_PIXEL, le=_MAX_PIXEL)]


class JobRequest(BaseModel):
    """Everything that decides a job's result, so that a resumed job ends as it would have.

    `directory` is where modules of `data` are looked for, `tables` the table file if it is not
    that of the configuration; `threads` are those of training, `device_threads` those of the
    measured runtime, `cores` those that it may use unless `core_mask` is not 0. Without `exact`,
    times of kernels are interpolated where a network's latency is then still known well enough.
    `binary` and its flags are the program of the backend benchmark-model. `energy` is what tells
    the energy of kernels: the device's meter, or a model. With the device "eyeriss" nothing is
    measured, and what is said of how to measure has no meaning.

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
    budget: list[str]
    method: Literal["netadapt", "netadapt-paper", "uniform"] = "netadapt"
    compare: list[Literal["uniform"]] = []
    quantize: Literal["float32", "int8"] = "float32"
    energy: Literal["meter", "eyeriss"] = "meter"
    device: str = "local"
    agent_python: Path | None = None
    backend: Literal["xnnpack", "builtin", "benchmark-model"] = "xnnpack"
    binary: Path | None = None
    binary_flags: list[str] = []
    device_threads: int = Field(default=1, ge=1, le=64)
    cores: Literal["big", "little", "all"] = "big"
    core_mask: int = Field(default=0, ge=0, lt=1 << 64)
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
