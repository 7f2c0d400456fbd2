from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Backend(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BACKEND_UNSPECIFIED: _ClassVar[Backend]
    BACKEND_XNNPACK: _ClassVar[Backend]
    BACKEND_BUILTIN: _ClassVar[Backend]

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    STATUS_MEASURED: _ClassVar[Status]
    STATUS_NOT_CONVERGED: _ClassVar[Status]
    STATUS_REFUSED: _ClassVar[Status]
    STATUS_CRASHED: _ClassVar[Status]
    STATUS_HUNG: _ClassVar[Status]
    STATUS_NOT_STARTED: _ClassVar[Status]

class EnergyStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENERGY_STATUS_UNSPECIFIED: _ClassVar[EnergyStatus]
    ENERGY_STATUS_MEASURED: _ClassVar[EnergyStatus]
    ENERGY_STATUS_NO_METER: _ClassVar[EnergyStatus]
    ENERGY_STATUS_CHARGING: _ClassVar[EnergyStatus]
    ENERGY_STATUS_NO_READING: _ClassVar[EnergyStatus]
    ENERGY_STATUS_UNSTEADY: _ClassVar[EnergyStatus]
    ENERGY_STATUS_NOT_STARTED: _ClassVar[EnergyStatus]
BACKEND_UNSPECIFIED: Backend
BACKEND_XNNPACK: Backend
BACKEND_BUILTIN: Backend
STATUS_UNSPECIFIED: Status
STATUS_MEASURED: Status
STATUS_NOT_CONVERGED: Status
STATUS_REFUSED: Status
STATUS_CRASHED: Status
STATUS_HUNG: Status
STATUS_NOT_STARTED: Status
ENERGY_STATUS_UNSPECIFIED: EnergyStatus
ENERGY_STATUS_MEASURED: EnergyStatus
ENERGY_STATUS_NO_METER: EnergyStatus
ENERGY_STATUS_CHARGING: EnergyStatus
ENERGY_STATUS_NO_READING: EnergyStatus
ENERGY_STATUS_UNSTEADY: EnergyStatus
ENERGY_STATUS_NOT_STARTED: EnergyStatus

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("identity", "state", "limits")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    identity: Identity
    state: State
    limits: Limits
    def __init__(self, identity: _Optional[_Union[Identity, _Mapping]] = ..., state: _Optional[_Union[State, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("device_model", "soc", "os_build", "architecture", "runtime", "runtime_version", "runtime_build", "cores", "page_size", "memory_total", "agent_version", "backends", "boot_id", "meters")
    DEVICE_MODEL_FIELD_NUMBER: _ClassVar[int]
    SOC_FIELD_NUMBER: _ClassVar[int]
    OS_BUILD_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_BUILD_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    METERS_FIELD_NUMBER: _ClassVar[int]
    device_model: str
    soc: str
    os_build: str
    architecture: str
    runtime: str
    runtime_version: str
    runtime_build: str
    cores: _containers.RepeatedCompositeFieldContainer[Core]
    page_size: int
    memory_total: int
    agent_version: str
    backends: _containers.RepeatedScalarFieldContainer[Backend]
    boot_id: str
    meters: _containers.RepeatedCompositeFieldContainer[Meter]
    def __init__(self, device_model: _Optional[str] = ..., soc: _Optional[str] = ..., os_build: _Optional[str] = ..., architecture: _Optional[str] = ..., runtime: _Optional[str] = ..., runtime_version: _Optional[str] = ..., runtime_build: _Optional[str] = ..., cores: _Optional[_Iterable[_Union[Core, _Mapping]]] = ..., page_size: _Optional[int] = ..., memory_total: _Optional[int] = ..., agent_version: _Optional[str] = ..., backends: _Optional[_Iterable[_Union[Backend, str]]] = ..., boot_id: _Optional[str] = ..., meters: _Optional[_Iterable[_Union[Meter, _Mapping]]] = ...) -> None: ...

class Meter(_message.Message):
    __slots__ = ("name", "covers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COVERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    covers: str
    def __init__(self, name: _Optional[str] = ..., covers: _Optional[str] = ...) -> None: ...

class Core(_message.Message):
    __slots__ = ("index", "max_khz", "min_khz", "governor")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MAX_KHZ_FIELD_NUMBER: _ClassVar[int]
    MIN_KHZ_FIELD_NUMBER: _ClassVar[int]
    GOVERNOR_FIELD_NUMBER: _ClassVar[int]
    index: int
    max_khz: int
    min_khz: int
    governor: str
    def __init__(self, index: _Optional[int] = ..., max_khz: _Optional[int] = ..., min_khz: _Optional[int] = ..., governor: _Optional[str] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("core_khz", "temperatures", "load_average", "memory_available", "monotonic_ns")
    CORE_KHZ_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURES_FIELD_NUMBER: _ClassVar[int]
    LOAD_AVERAGE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MONOTONIC_NS_FIELD_NUMBER: _ClassVar[int]
    core_khz: _containers.RepeatedScalarFieldContainer[int]
    temperatures: _containers.RepeatedCompositeFieldContainer[Temperature]
    load_average: float
    memory_available: int
    monotonic_ns: int
    def __init__(self, core_khz: _Optional[_Iterable[int]] = ..., temperatures: _Optional[_Iterable[_Union[Temperature, _Mapping]]] = ..., load_average: _Optional[float] = ..., memory_available: _Optional[int] = ..., monotonic_ns: _Optional[int] = ...) -> None: ...

class Temperature(_message.Message):
    __slots__ = ("zone", "celsius")
    ZONE_FIELD_NUMBER: _ClassVar[int]
    CELSIUS_FIELD_NUMBER: _ClassVar[int]
    zone: str
    celsius: float
    def __init__(self, zone: _Optional[str] = ..., celsius: _Optional[float] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_models", "max_model_bytes", "max_batch_bytes", "max_time_limit_ms", "max_threads")
    MAX_MODELS_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TIME_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_THREADS_FIELD_NUMBER: _ClassVar[int]
    max_models: int
    max_model_bytes: int
    max_batch_bytes: int
    max_time_limit_ms: int
    max_threads: int
    def __init__(self, max_models: _Optional[int] = ..., max_model_bytes: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., max_time_limit_ms: _Optional[int] = ..., max_threads: _Optional[int] = ...) -> None: ...

class MeasureRequest(_message.Message):
    __slots__ = ("models", "options")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    options: Options
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., options: _Optional[_Union[Options, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("id", "content", "sha256")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    id: str
    content: bytes
    sha256: bytes
    def __init__(self, id: _Optional[str] = ..., content: _Optional[bytes] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class Options(_message.Message):
    __slots__ = ("backend", "threads", "core_mask", "target_relative_error", "time_limit_ms", "max_windows", "window_us", "energy_ms")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    CORE_MASK_FIELD_NUMBER: _ClassVar[int]
    TARGET_RELATIVE_ERROR_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_US_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MS_FIELD_NUMBER: _ClassVar[int]
    backend: Backend
    threads: int
    core_mask: int
    target_relative_error: float
    time_limit_ms: int
    max_windows: int
    window_us: int
    energy_ms: int
    def __init__(self, backend: _Optional[_Union[Backend, str]] = ..., threads: _Optional[int] = ..., core_mask: _Optional[int] = ..., target_relative_error: _Optional[float] = ..., time_limit_ms: _Optional[int] = ..., max_windows: _Optional[int] = ..., window_us: _Optional[int] = ..., energy_ms: _Optional[int] = ...) -> None: ...

class MeasureResponse(_message.Message):
    __slots__ = ("progress", "result", "finished")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    result: Result
    finished: Finished
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("settled", "total", "windows")
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    settled: int
    total: int
    windows: int
    def __init__(self, settled: _Optional[int] = ..., total: _Optional[int] = ..., windows: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("id", "status", "detail", "signal", "windows", "delegated_nodes", "nodes", "energy")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    DELEGATED_NODES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: Status
    detail: str
    signal: int
    windows: _containers.RepeatedCompositeFieldContainer[Window]
    delegated_nodes: int
    nodes: int
    energy: Energy
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., detail: _Optional[str] = ..., signal: _Optional[int] = ..., windows: _Optional[_Iterable[_Union[Window, _Mapping]]] = ..., delegated_nodes: _Optional[int] = ..., nodes: _Optional[int] = ..., energy: _Optional[_Union[Energy, _Mapping]] = ...) -> None: ...

class Energy(_message.Message):
    __slots__ = ("status", "detail", "meter", "run_uj", "run_ms", "invokes", "idle_before_mw", "idle_after_mw", "error_uj")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    RUN_UJ_FIELD_NUMBER: _ClassVar[int]
    RUN_MS_FIELD_NUMBER: _ClassVar[int]
    INVOKES_FIELD_NUMBER: _ClassVar[int]
    IDLE_BEFORE_MW_FIELD_NUMBER: _ClassVar[int]
    IDLE_AFTER_MW_FIELD_NUMBER: _ClassVar[int]
    ERROR_UJ_FIELD_NUMBER: _ClassVar[int]
    status: EnergyStatus
    detail: str
    meter: str
    run_uj: float
    run_ms: float
    invokes: int
    idle_before_mw: float
    idle_after_mw: float
    error_uj: float
    def __init__(self, status: _Optional[_Union[EnergyStatus, str]] = ..., detail: _Optional[str] = ..., meter: _Optional[str] = ..., run_uj: _Optional[float] = ..., run_ms: _Optional[float] = ..., invokes: _Optional[int] = ..., idle_before_mw: _Optional[float] = ..., idle_after_mw: _Optional[float] = ..., error_uj: _Optional[float] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("samples", "preempted", "invokes_per_sample", "low_us", "median_us", "min_us", "cpu_us", "start_ms")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    PREEMPTED_FIELD_NUMBER: _ClassVar[int]
    INVOKES_PER_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    LOW_US_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_US_FIELD_NUMBER: _ClassVar[int]
    MIN_US_FIELD_NUMBER: _ClassVar[int]
    CPU_US_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    samples: int
    preempted: int
    invokes_per_sample: int
    low_us: float
    median_us: float
    min_us: float
    cpu_us: float
    start_ms: float
    def __init__(self, samples: _Optional[int] = ..., preempted: _Optional[int] = ..., invokes_per_sample: _Optional[int] = ..., low_us: _Optional[float] = ..., median_us: _Optional[float] = ..., min_us: _Optional[float] = ..., cpu_us: _Optional[float] = ..., start_ms: _Optional[float] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("before", "after", "wall_ms", "workers_started")
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    WALL_MS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_STARTED_FIELD_NUMBER: _ClassVar[int]
    before: State
    after: State
    wall_ms: float
    workers_started: int
    def __init__(self, before: _Optional[_Union[State, _Mapping]] = ..., after: _Optional[_Union[State, _Mapping]] = ..., wall_ms: _Optional[float] = ..., workers_started: _Optional[int] = ...) -> None: ...
