"""Commands that look at tables and networks. None of them needs TensorFlow."""

from adapt.commands.networks import measure, predict
from adapt.commands.tables import tables

__all__ = ["COMMANDS"]

COMMANDS = (tables, predict, measure)
