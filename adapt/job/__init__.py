"""One durable run of a method: its folder, its journal, and the driver that carries it out."""

from adapt.job.driver import execute, resume_command
from adapt.job.folder import JobFolder
from adapt.job.listener import Listener
from adapt.job.request import JobRequest
from adapt.job.result import JobResult, Measured, NetworkResult

__all__ = [
    "JobFolder",
    "JobRequest",
    "JobResult",
    "Listener",
    "Measured",
    "NetworkResult",
    "execute",
    "resume_command",
]
