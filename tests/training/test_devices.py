"""Fine-tuning on several devices, and in less precision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from adapt.network.elastic import ElasticNetwork
from adapt.network.load import Network
from adapt.training.data import Data
from adapt.training.finetune import Checkpoint, Schedule, Trainer

# Two processors that TensorFlow takes for devices of their own; only a fresh process can have them.
TWO_DEVICES = """
import sys
from adapt.telemetry import import_tensorflow
import_tensorflow()
import numpy as np
import tensorflow as tf
from adapt.demo import MODEL
from adapt.network.elastic import ElasticNetwork
from adapt.network.load import load_network
from adapt.training.data import DataOptions, load_data
from adapt.training.finetune import Checkpoint, Schedule, Teacher, Trainer, pin_threads

pin_threads(1)
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
network = load_network(MODEL)
data = load_data("adapt.demo:digits", (8, 8, 1), 10, DataOptions())
teacher = Teacher(network.weights, 0.7, 3.0)
found = []
for devices in (None, strategy):
    elastic = ElasticNetwork(network.model, network.groups)
    trainer = Trainer(elastic, data, batch=65, teacher=teacher, strategy=devices)
    trained = trainer.train(Checkpoint(network.weights), Schedule(0.001, 8, cosine=False), seed=1)
    assert trainer.traces["step"] == (1 if devices is None else 2), trainer.traces
    found.append((trained, trainer.score(trained.weights, data.test)))
(one, alone), (two, shared) = found
assert abs(alone.accuracy - shared.accuracy) < 0.02, (alone, shared)
# The means of the last layers' gradients, which see the same but for statistics of half a batch.
place = list(one.first)[-1]
np.testing.assert_allclose(two.first[place], one.first[place], rtol=0.5, atol=2e-3)
# Of a single example one device has none, and nothing to say.
trainer = Trainer(elastic, data, batch=1, teacher=teacher, strategy=strategy)
trained = trainer.train(Checkpoint(network.weights), Schedule(0.001, 3, cosine=False), seed=1)
assert all(np.isfinite(value).all() for value in trained.weights.values())
print("devices", strategy.num_replicas_in_sync)
"""


def test_two_devices_share_a_batch(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO_DEVICES)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "devices 2"


def test_less_precision(
    digits_network: Network, digits_data: Data, digits_trainer: Trainer
) -> None:
    mixed = ElasticNetwork(digits_network.model, digits_network.groups, mixed=True)
    trainer = Trainer(mixed, digits_data, batch=32)
    weights = digits_network.weights
    exact = digits_trainer.score(weights, digits_data.test)
    rough = trainer.score(weights, digits_data.test)
    assert rough.loss != exact.loss
    assert abs(rough.accuracy - exact.accuracy) < 0.02
    trained = trainer.train(Checkpoint(weights), Schedule(0.001, 20, cosine=False), seed=1)
    assert {value.dtype for value in trained.first.values()} == {np.dtype(np.float32)}
    assert abs(trainer.score(trained.weights, digits_data.test).accuracy - exact.accuracy) < 0.03
