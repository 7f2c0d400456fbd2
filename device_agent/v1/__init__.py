"""Generated from protos/device_agent/v1 by tools/generate_protos.py."""
