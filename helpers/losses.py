"""Terms of a loss, each with its reduction: what is summed, what is averaged, and what is left to the chapter.

The rule of the course: *mean over the images of a batch, sum over the units*. A penalty then means the same at
every batch size and in every version of Keras. Keras' own ``activity_regularizer`` does not: up to version 3.13 it
sums over the batch, from 3.14 on it divides by the batch.

All functions run on every back-end and can be differentiated. What they can say about values (a range, not a shape)
they say where the values are at hand. Inside a compiled training step they are not, and there the result is NaN,
which no training survives unnoticed.
"""

from __future__ import annotations

from keras import ops

from .validation import check_number

__all__ = ["bernoulli_divergence", "gaussian_divergence", "kl_sparsity", "l1_sparsity", "mean_activation"]

_MARGIN = 1e-9  # keeps logarithms finite at 0 and 1; at 0.001 it changes a divergence by less than 1e-6


def bernoulli_divergence(rho: float, rho_hat, check: bool = True):
    """Return how far a unit that is on with probability `rho_hat` is from one that is on with probability `rho`.

    The Kullback-Leibler divergence of two Bernoulli distributions, elementwise, in nats::

        KL(rho || rho_hat) = rho log(rho / rho_hat) + (1 - rho) log((1 - rho) / (1 - rho_hat))

    It is 0 where the two are equal and would be infinite at `rho_hat` = 0 and 1. To stay finite it is taken at
    ``rho_hat + 1e-9 (1 - 2 rho_hat)``, which squeezes [0, 1] a little from both sides.

    The trap is to clip `rho_hat` instead. Beyond the clip the gradient is 0: a unit that is off for every image, the
    very unit that the penalty is there for, is then left alone for good. Squeezed, its gradient is finite, and large.
    Times the slope of a sigmoid it stays below `rho`, however far the unit is off.

    Parameters
    ----------
    rho : float
        The wanted probability, strictly between 0 and 1.
    rho_hat : array_like of float
        In [0, 1]; of any shape.
    check : bool
        Whether to look at values that are at hand. A GPU has to be waited for, so a training step does not look.

    Returns
    -------
    tensor of float32, of the shape of `rho_hat`
        NaN where `rho_hat` is outside [0, 1].

    Raises
    ------
    ValueError
        If `rho` is not strictly between 0 and 1, or `rho_hat` is outside [0, 1] and its values are at hand.

    References
    ----------
    Ng (2011), *Sparse autoencoder*, CS294A lecture notes, Stanford University
    """
    check_number(rho, "rho", 0, 1, strictly=True)
    rho_hat = _floats(rho_hat)
    if check:
        _check_probabilities(rho_hat, "rho_hat")
    rho_hat = _nan_outside(rho_hat)
    on = rho_hat + _MARGIN * (1 - 2 * rho_hat)
    off = (1 - rho_hat) - _MARGIN * (1 - 2 * rho_hat)  # not 1 - on, which is rounded to 0 at rho_hat = 1
    rho = ops.cast(rho, "float32")
    return rho * (ops.log(rho) - ops.log(on)) + (1 - rho) * (ops.log(1 - rho) - ops.log(off))


def mean_activation(activations, check: bool = True):
    """Return how often each unit is on, over the images of a batch: its mean activation, the `rho_hat` of the penalty.

    Parameters
    ----------
    activations : array_like of float, shape (n, d)
        In [0, 1], as sigmoid units have them: the activation is read as the probability that the unit is on.
    check : bool
        Whether to look at values that are at hand. A GPU has to be waited for, so a training step does not look.

    Returns
    -------
    tensor of float32, shape (d,)
        NaN for a unit with any activation outside [0, 1]. The mean of a ReLU unit often lies
        inside, where a penalty on the mean alone would look plausible and mean nothing.

    Raises
    ------
    ValueError
        If the shape is not (n, d), or an activation is outside [0, 1] and its value is at hand.
    """
    activations = _floats(activations)
    _check_matrix(activations, "activations")
    if check:
        _check_probabilities(activations, "activations")
    return ops.mean(_nan_outside(activations), axis=0)


def kl_sparsity(activations, rho: float, check: bool = True):
    """Return the penalty that keeps each unit on for a share `rho` of the images.

    ``sum over units j of KL(rho || rho_hat_j)``, with `rho_hat_j` the *mean over the batch* of unit j: mean first,
    divergence then, sum last. A batch estimates `rho_hat` with a standard deviation of about
    ``sqrt(rho (1 - rho) / n)`` if units are on or off, so 32 images cannot tell 0.01 from 0.03: take hundreds, or a
    running mean (`helpers.layers.KLSparsity` with `momentum`).

    Parameters
    ----------
    activations : array_like of float, shape (n, d)
        In [0, 1].
    rho : float
        The wanted mean activation, strictly between 0 and 1.
    check : bool
        As for `mean_activation`.

    Returns
    -------
    tensor of float32, shape ()
        In nats. The same for a batch and for that batch ten times over. NaN if an activation is outside [0, 1].

    Raises
    ------
    ValueError
        As `bernoulli_divergence` and `mean_activation`.

    References
    ----------
    Ng (2011), *Sparse autoencoder*, CS294A lecture notes, Stanford University
    """
    # means of probabilities are probabilities: nothing to look at twice
    return ops.sum(bernoulli_divergence(rho, mean_activation(activations, check), check=False))


def l1_sparsity(code):
    """Return the mean over the batch of the sum over units of the absolute values.

    Unlike the divergence it works on each image by itself, and on any activation. It has a trap of its own: where the
    decoder may grow, a code can shrink to please the penalty and be none the sparser.

    Parameters
    ----------
    code : array_like of float, shape (n, d)

    Returns
    -------
    tensor of float32, shape ()
        The same for a batch and for that batch ten times over. Its gradient at 0 is 0, on every back-end.

    Raises
    ------
    ValueError
        If the shape is not (n, d).

    References
    ----------
    Olshausen and Field (1996), https://doi.org/10.1038/381607a0 ; Tibshirani (1996),
    https://doi.org/10.1111/j.2517-6161.1996.tb02080.x
    """
    code = _floats(code)
    _check_matrix(code, "code")
    return ops.mean(ops.sum(code * ops.sign(code), axis=-1))  # not ops.abs, whose gradient at 0 is 1 on JAX


def gaussian_divergence(mean, log_variance):
    """Return, for each image and dimension, how far a Gaussian is from the standard one: KL(N(mean, var) || N(0, 1)).

    In nats::

        KL = (mean^2 + variance - 1 - log variance) / 2

    The regulariser of a variational autoencoder is its *sum* over the dimensions, then the mean over the images.
    Nothing is summed here, so that a chapter can look at each dimension, and so that the sum is written where it can
    be seen. Averaging over the d dimensions instead, as ``ops.mean`` over everything does, divides the term by d:
    that is a beta-VAE with beta = 1/d under the name of a VAE.

    Parameters
    ----------
    mean, log_variance : array_like of float, shape (n, d)
        The logarithm, which may take any value, so that a linear layer can give it.

    Returns
    -------
    tensor of float32, shape (n, d)
        0 or more; 0 where the mean is 0 and the variance 1. In float32 a log variance above 88 gives infinity.

    Raises
    ------
    ValueError
        If the shapes are not (n, d) or differ.

    References
    ----------
    Kingma and Welling (2014), https://arxiv.org/abs/1312.6114 , appendix B
    """
    mean, log_variance = _floats(mean), _floats(log_variance)
    _check_matrix(mean, "mean")
    _check_matrix(log_variance, "log_variance")
    shapes = tuple(mean.shape), tuple(log_variance.shape)
    if any(one != other for one, other in zip(*shapes, strict=True) if None not in (one, other)):
        raise ValueError(f"`mean` has shape {shapes[0]} and `log_variance` {shapes[1]}: give one of each a dimension.")
    # expm1 keeps the digits that exp(x) - 1 loses near 0, where the two parts almost cancel
    return 0.5 * (ops.square(mean) + ops.expm1(log_variance) - log_variance)


def _floats(values):
    """Return a tensor of float32: 1e-9 does not exist in half precision."""
    return ops.cast(ops.convert_to_tensor(values), "float32")


def _inside(values):
    return ops.logical_and(values >= 0, values <= 1)


def _nan_outside(values):
    return ops.where(_inside(values), values, float("nan"))


def _check_matrix(values, name: str) -> None:
    if len(values.shape) != 2 or 0 in tuple(values.shape):
        raise ValueError(
            f"`{name}` has shape {tuple(values.shape)}, but it takes (n, d), with at least one image and one unit."
        )


def _check_probabilities(values, name: str) -> None:
    try:
        fits = ops.convert_to_numpy(ops.all(_inside(values)))
    except (NotImplementedError, TypeError):  # what the back-ends raise in a graph, which has no values yet
        return
    if not fits:
        values = ops.convert_to_numpy(values)
        raise ValueError(
            f"`{name}` lies in [{values.min():.3g}, {values.max():.3g}], but a probability lies in [0, 1]: "
            f"take sigmoid units, or the L1 penalty."
        )
