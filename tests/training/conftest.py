"""TensorFlow without its greetings, before the test modules import it."""

from adapt.telemetry import import_tensorflow

import_tensorflow()
