"""Adapts trained Keras networks to budgets, as measured on the device they ship to."""
