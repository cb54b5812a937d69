"""tfvoice: classic neural voice models in TensorFlow."""
