"""A Keras network as something that can be narrowed: its channel groups, its shrunk versions, and
the kernels that it converts to at any widths."""
