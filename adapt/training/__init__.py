"""The user's examples, and training and scoring with them."""
