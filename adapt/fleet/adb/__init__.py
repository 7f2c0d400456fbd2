"""Links over the Android debug bridge: to a device itself, or through a running adb server."""
