"""Kernels as TensorFlow Lite files: one written for each kernel, and any file read as kernels."""
