"""Devices that are not there: a process with the real service, whose times come from a profile.

For trying the product without a phone, and for the faults that a real device has too seldom. Its
runtime is called "simulated", so that its entries never meet those of a real one.
"""

from adapt.fleet.simulated.device import SimulatedDevice
from adapt.fleet.simulated.profile import PREFIX, profile_file

__all__ = ["PREFIX", "SimulatedDevice", "profile_file"]
