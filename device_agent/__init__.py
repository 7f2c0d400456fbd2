"""The agent: runs on the device, times TFLite models for a host, trusts none of them.

It stands alone: Python, numpy, grpcio, protobuf and a TFLite runtime are all that it needs.
Start it with `python -m device_agent --listen unix:/path --token-stdin`.
"""

__version__ = "0.1.0"
