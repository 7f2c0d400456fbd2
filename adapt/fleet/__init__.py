"""The devices that this host can reach, and the links to them."""

import os

# gRPC's core writes its own account of a lost agent to stderr; the user gets ours.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
