"""The energy part of one Measure call: whether it can be measured, and the meter meanwhile.

The agent reads the meter, not the worker: it goes on reading while a model runs, and a damaged
model can change no reading.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from device_agent import energy
from device_agent.exercise import Exercise, Schedule
from device_agent.power import FalsifiedError, Meter, MeterError, Recorder
from device_agent.v1 import agent_pb2

MAX_DETAIL = 500
NOT_STARTED = "the model was not timed to its end, or the time limit came first"

STATUS = agent_pb2.EnergyStatus


class Metering:
    """Measures with `meter` the energy of models that run for `energy_ms` each.

    `schedule` is what a worker has to do with each model; None where no energy is asked for, or
    none can be measured. Reads the meter's files at once, to see whether it can.
    """

    def __init__(self, meter: Meter | None, energy_ms: int) -> None:
        self._wanted = energy_ms > 0
        self._meter = meter
        self._recorder: Recorder | None = None
        self.schedule: Schedule | None = None
        if meter is None:
            self._refusal = _refused(STATUS.ENERGY_STATUS_NO_METER, "no energy meter can be read")
        elif objection := meter.objection():
            self._refusal = _refused(STATUS.ENERGY_STATUS_CHARGING, objection)
        else:
            self._refusal = _refused(STATUS.ENERGY_STATUS_NOT_STARTED, NOT_STARTED)
            if self._wanted:
                self.schedule = Schedule(meter.settle_ms, energy_ms // 2, energy_ms)

    @property
    def model_ms(self) -> int:
        """How long each model takes, milliseconds."""
        return 0 if self.schedule is None else self.schedule.total_ms

    def refusal(self) -> agent_pb2.Energy | None:
        """The answer for a model whose energy was not measured; None where nobody asked."""
        return self._refusal if self._wanted else None

    def begin(self) -> None:
        """A worker is about to exercise a model: read the meter from now on."""
        if self._meter is not None and self._recorder is None:
            self._recorder = Recorder(self._meter)
            self._recorder.start()

    async def finish(self, exercise: Exercise) -> agent_pb2.Energy:
        """The answer for the model that was exercised; ValueError where none was begun."""
        meter, recorder = self._meter, self._recorder
        if meter is None or recorder is None:
            raise ValueError("a model was exercised that was not to be")
        self._recorder = None
        # In threads: the recorder reads once more, the drivers of gauges take their time.
        samples = await asyncio.to_thread(recorder.stop)
        objection = await asyncio.to_thread(meter.objection)
        if objection:
            return _refused(STATUS.ENERGY_STATUS_CHARGING, objection)
        try:
            found = energy.estimate(meter.trace(samples), exercise)
        except FalsifiedError as error:
            return _refused(STATUS.ENERGY_STATUS_CHARGING, str(error))
        except MeterError as error:
            return _refused(STATUS.ENERGY_STATUS_NO_READING, str(error))
        except energy.UnsteadyError as error:
            return _refused(STATUS.ENERGY_STATUS_UNSTEADY, str(error))
        return agent_pb2.Energy(
            status=STATUS.ENERGY_STATUS_MEASURED, meter=meter.name, **asdict(found)
        )

    async def abandon(self) -> None:
        """The worker has ended: stop reading for a model that it did not finish."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            await asyncio.to_thread(recorder.stop)


def _refused(status: agent_pb2.EnergyStatus, detail: str) -> agent_pb2.Energy:
    return agent_pb2.Energy(status=status, detail=detail[:MAX_DETAIL])
