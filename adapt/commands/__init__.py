"""Commands that need no TensorFlow."""

from adapt.commands.devices import devices
from adapt.commands.doctor import doctor
from adapt.commands.estimate import estimate
from adapt.commands.learn import learn
from adapt.commands.networks import measure, predict
from adapt.commands.refresh import refresh
from adapt.commands.show import show
from adapt.commands.tables import tables

__all__ = ["COMMANDS"]

tables.add_command(learn)
tables.add_command(show)

COMMANDS = (devices, doctor, tables, estimate, predict, measure, refresh)
