"""Where candidates are tuned and scored: in this process, in others, or on a Ray cluster.

Nothing is imported here: a worker imports its part before TensorFlow, which it silences first.
"""
