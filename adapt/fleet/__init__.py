"""The devices that this host can reach, and the links to them."""
