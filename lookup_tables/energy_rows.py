"""The statements that read and write the energy of kernels. Only `store` uses them."""

from __future__ import annotations

import statistics
from dataclasses import astuple

from sqlite_utils import Database

from lookup_tables.energy import EnergyRun, kernel_energy
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.records import NullEnergy
from lookup_tables.rows import kernel_id_of

_RUN = "meter, run_uj, run_ms, invokes, idle_before_mw, idle_after_mw, error_uj"

_NULLS = """
    SELECT energy.null_uj, energy.null_error_uj
    FROM platform
    JOIN entry ON entry.platform_id = platform.id
    JOIN energy_measurement AS energy ON energy.id = entry.energy_measurement_id
    WHERE platform.key = ? AND energy.meter = ?
"""

_KEEP = """
    UPDATE entry SET energy_measurement_id = ?, energy_uj = ?
    WHERE kernel_id = ? AND platform_id = (SELECT id FROM platform WHERE key = ?)
"""


def null_of(run: EnergyRun | None, meter: str) -> NullEnergy | None:
    """The null op's energy as `run` tells it; None where that is of another meter."""
    if run is None or run.meter != meter:
        return None
    return NullEnergy(run.inference_uj, run.error_uj)


def null_energy(database: Database, platform: Platform, meter: str) -> NullEnergy | None:
    """Median of what was subtracted from the platform's entries."""
    found = database.execute(_NULLS, (platform.key, meter)).fetchall()
    if not found:
        return None
    return NullEnergy(*(statistics.median(column) for column in zip(*found, strict=True)))


def insert_null(database: Database, batch: int, run: EnergyRun) -> None:
    database.execute(
        f"INSERT INTO null_energy (batch_id, {_RUN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (batch, *astuple(run)),
    )


def insert_energy(
    database: Database,
    platform: Platform,
    batch: int,
    kernel: Kernel,
    run: EnergyRun,
    null: NullEnergy,
) -> None:
    """Add an energy to the kernel's entry, which exists."""
    kernel_id = kernel_id_of(database, kernel)
    energy = kernel_energy(run, null.inference_uj, null.error_uj)
    cursor = database.execute(
        f"INSERT INTO energy_measurement (batch_id, kernel_id, {_RUN}, null_uj, null_error_uj,"
        " kernel_uj, relative_error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            batch,
            kernel_id,
            *astuple(run),
            null.inference_uj,
            null.error_uj,
            energy.kernel_uj,
            energy.relative_error,
        ),
    )
    database.execute(_KEEP, (cursor.lastrowid, energy.kernel_uj, kernel_id, platform.key))
