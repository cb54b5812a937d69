"""Optimizers: Keras's AdamW and SGD, and the one that the original WaveNet recogniser trained with."""

import keras
from keras import ops

# A name of its own choosing would count the optimizers of the process, and name the tensors of checkpoints by it.
_NAME = "optimizer"


class MaxProp(keras.optimizers.Optimizer):
    """Divides each gradient by a decaying maximum of the gradients of its weight, as sugartensor 1.0.0.2 does.

    `m <- max(0.99 m + 1e-8, |g|)` and `w <- w - learning_rate * g / m`. A step never moves a weight by more than the
    learning rate, and the scale of the loss does not matter. There is no momentum and no paper.

    Args:
      learning_rate: largest move of a weight in a step.
      decay: of the maximum, at each step.
      epsilon: added to it.
    """

    def __init__(self, learning_rate: float = 1e-3, decay: float = 0.99, epsilon: float = 1e-8, name: str = "maxprop"):
        super().__init__(learning_rate=learning_rate, name=name)
        self.decay = decay
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._largest = [self.add_variable_from_reference(variable, name="largest") for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        """Moves one weight tensor."""
        largest = self._largest[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(largest, ops.maximum(self.decay * largest + self.epsilon, ops.abs(gradient)))
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * gradient / largest)


def build(name: str, variables: list, weight_decay: float) -> keras.optimizers.Optimizer:
    """Makes the optimizer of that name for these variables, its slots included.

    Args:
      name: `adamw` (Loshchilov and Hutter, arXiv 1711.05101), `sgd` with a Nesterov momentum of 0.9, or `maxprop`.
      variables: trainable variables. Weight decay does not apply to biases and normalisation.
      weight_decay: of AdamW.
    """
    if name == "maxprop":
        optimizer = MaxProp(name=_NAME)
    elif name == "sgd":
        optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True, name=_NAME)
    else:
        optimizer = keras.optimizers.AdamW(weight_decay=weight_decay, name=_NAME)
        optimizer.exclude_from_weight_decay(var_list=[variable for variable in variables if len(variable.shape) < 2])
    optimizer.build(variables)
    return optimizer
