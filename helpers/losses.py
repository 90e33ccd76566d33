"""Terms of a loss, each with its reduction: what is summed, what is averaged, and what is left to the chapter.

The rule of the course: *mean over the images of a batch, sum over the units*. A penalty then means the same at
every batch size and in every version of Keras. Keras' own ``activity_regularizer`` does not: up to version 3.13 it
sums over the batch, from 3.14 on it divides by the batch.

All functions run on every back-end and can be differentiated. What they can say about values (a range, not a shape)
they say where the values are at hand. Inside a compiled training step they are not, and there the result is NaN,
which no training survives unnoticed.
"""

from __future__ import annotations

import math

from keras import ops

from .validation import check_number

__all__ = [
    "alignment",
    "bernoulli_divergence",
    "contrastive",
    "gaussian_divergence",
    "kl_sparsity",
    "l1_sparsity",
    "mean_activation",
    "nt_xent",
    "pair_distances",
    "triplet",
    "uniformity",
]

_SHORTEST = 1e-6  # length of an embedding that is scaled to 1
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
    rho = check_number(rho, "rho", 0, 1, strictly=True)
    rho_hat = _floats(rho_hat)
    if check:
        _check_probabilities(rho_hat, "rho_hat")
    rho_hat = _nan_outside(rho_hat)
    on = rho_hat + _MARGIN * (1 - 2 * rho_hat)
    off = (1 - rho_hat) - _MARGIN * (1 - 2 * rho_hat)  # not 1 - on, which is rounded to 0 at rho_hat = 1
    # what `rho` alone decides in double precision: in single, 1 - 1e-9 is 1, and its logarithms are infinite
    return rho * (math.log(rho) - ops.log(on)) + (1 - rho) * (math.log1p(-rho) - ops.log(off))


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

    Examples
    --------
    The first unit is on as often as it should be, the second four times as often:

    >>> round(float(kl_sparsity([[0.1, 0.3], [0.1, 0.5]], rho=0.1)), 4)
    0.2263
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
    mean, log_variance = _check_pairs(mean=mean, log_variance=log_variance)
    # expm1 keeps the digits that exp(x) - 1 loses near 0, where the two parts almost cancel
    return 0.5 * (ops.square(mean) + ops.expm1(log_variance) - log_variance)


# ---- pairs of embeddings


def pair_distances(first, second):
    """Return the Euclidean distance of each pair of embeddings.

    Where the two are equal the distance is 0, and so is its gradient. The root of a sum of squares has none there:
    written plainly, one pair of equal embeddings makes every weight NaN.

    Parameters
    ----------
    first, second : array_like of float, shape (n, d)
        Row i of both is a pair.

    Returns
    -------
    tensor of float32, shape (n,)

    Raises
    ------
    ValueError
        If the shapes are not (n, d) or differ.
    """
    first, second = _check_pairs(first=first, second=second)
    return _safe_root(_squared_distances(first, second))


def contrastive(distances, similar, margin: float = 1.0, check: bool = True):
    """Return the margin loss of pairs: similar ones are drawn together, others pushed until they are `margin` apart.

    The mean over the pairs of ::

        similar d^2 / 2 + (1 - similar) max(0, margin - d)^2 / 2

    Here **1 means similar**. The paper has it the other way round (its Y is 0 for a similar pair), and so has other
    literature. A network trained by the wrong convention learns just as smoothly: it draws strangers together and
    pushes twins apart, and no loss curve tells. Look at the distances of both kinds.

    Dissimilar pairs farther apart than `margin` have no gradient, so `margin` sets the scale of the embedding.
    Without dissimilar pairs the loss is smallest where all embeddings are equal.

    Parameters
    ----------
    distances : array_like of float, shape (n,)
        0 or more, as `pair_distances` gives them: not similarities, and not squared.
    similar : array_like of bool, int or float, shape (n,)
        1 where a pair is similar, 0 where it is not.
    margin : float
        0 or more.
    check : bool
        Whether to look at values that are at hand. A GPU has to be waited for: in a training step on Torch, where they
        always are, take False. Compiled steps never look.

    Returns
    -------
    tensor of float32, shape ()
        0 or more. Where nobody looks it is NaN if `similar` holds anything but 0 and 1, or a distance is negative.

    Raises
    ------
    ValueError
        If `margin` is negative, there is no pair, or the shapes are not (n,) or differ; where values are at hand, if
        `similar` holds anything but 0 and 1, or a distance is negative.

    References
    ----------
    Hadsell, Chopra and LeCun (2006), Dimensionality reduction by learning an invariant mapping,
    https://doi.org/10.1109/CVPR.2006.100

    Examples
    --------
    >>> float(contrastive([0.5, 0.5, 2.0], [1, 0, 0]))  # doctest: +ELLIPSIS
    0.0833...
    """
    check_number(margin, "margin", 0)
    distances, similar = _floats(distances), _floats(similar)
    if len(distances.shape) != 1 or _differ(distances, similar):
        raise ValueError(
            f"`distances` has shape {tuple(distances.shape)} and `similar` {tuple(similar.shape)}, but both have one "
            f"axis (n,), with an entry for each pair."
        )
    if distances.shape[0] == 0:
        raise ValueError("`distances` is empty, but a mean over pairs needs one pair or more.")
    labelled, measured = ops.logical_or(similar == 0, similar == 1), distances >= 0
    if check and _fails(labelled):
        raise ValueError("`similar` holds more than 0 and 1: here 1 means similar and 0 dissimilar.")
    if check and _fails(measured):
        raise ValueError("`distances` holds numbers below 0 or NaN, but a distance is 0 or more: see `pair_distances`.")
    fits = ops.logical_and(labelled, measured)
    together = ops.square(distances)
    apart = ops.square(ops.maximum(margin - distances, 0))
    return ops.mean(ops.where(fits, similar * together + (1 - similar) * apart, float("nan"))) / 2


def nt_xent(first, second, temperature: float = 0.5):
    """Return SimCLR's loss: each view is to find its other view among all others of the batch.

    Embeddings are scaled to length 1, so that a product is a cosine. Of the 2n views, view i sees its other view p(i)
    and 2n - 2 strangers, and the loss is the cross-entropy of a softmax over them, averaged over the 2n views::

        - log( exp(z_i z_p(i) / temperature) / sum over k != i of exp(z_i z_k / temperature) )

    It is log(2n - 1) where all embeddings are equal: a run that stays there has collapsed. The smaller `temperature`,
    the more the nearest strangers count. The larger the batch, the harder the question, so losses of different batch
    sizes cannot be compared. Two images of one class are strangers, too: in small batches of few classes a part of
    what is pushed apart should not be.

    Parameters
    ----------
    first, second : array_like of float, shape (n, d)
        Row i of both are views of image i; n is 2 or more.
    temperature : float
        More than 0.

    Returns
    -------
    tensor of float32, shape ()
        0 or more. The same with `first` and `second` exchanged, rotated together, or scaled.

    Raises
    ------
    ValueError
        If `temperature` is not above 0, the shapes are not (n, d) or differ, or there is one pair only, which has no
        strangers. A compiled step of TensorFlow does not know beforehand how many there are: there the loss of one
        pair is NaN.

    References
    ----------
    Chen, Kornblith, Norouzi and Hinton (2020), A simple framework for contrastive learning of visual representations,
    https://arxiv.org/abs/2002.05709
    """
    check_number(temperature, "temperature", 0, strictly=True)
    first, second = (_unit(embeddings) for embeddings in _check_pairs(first=first, second=second))
    if first.shape[0] == 1:
        raise ValueError("A batch of one pair has no strangers to tell it from: NT-Xent needs two pairs or more.")
    views = ops.concatenate([first, second])
    logits = ops.matmul(views, ops.transpose(views)) / temperature
    n, places = ops.shape(views)[0], ops.arange(ops.shape(views)[0])
    is_own = ops.equal(places[:, None], (places[None, :] + n // 2) % n)
    # from the same product: summed apart, it is rounded apart, and a low temperature makes losses below 0 of that
    own = ops.sum(ops.where(is_own, logits, 0), axis=1, keepdims=True)
    loss = ops.mean(ops.logsumexp(_without_diagonal(logits - own), axis=1))
    return ops.where(n > 2, loss, float("nan"))


def triplet(anchor, positive, negative, margin: float = 0.2):
    """Return the triplet loss: an anchor is to be nearer to its own kind than to another, by `margin`.

    The mean over the triplets of ``max(0, |anchor - positive|^2 - |anchor - negative|^2 + margin)``, with *squared*
    distances, as in the paper, of the embeddings as they are. The paper scales them to length 1 first: do so, or they
    can grow to please the loss. Triplets that are right by more than `margin` have no gradient, which soon are most of
    those drawn at random. The loss is `margin` where all embeddings are equal: a run that stays there has collapsed.

    Parameters
    ----------
    anchor, positive, negative : array_like of float, shape (n, d)
        Row i of all three is a triplet.
    margin : float
        0 or more.

    Returns
    -------
    tensor of float32, shape ()

    Raises
    ------
    ValueError
        If `margin` is negative, or the shapes are not (n, d) or differ.

    References
    ----------
    Schroff, Kalenichenko and Philbin (2015), FaceNet: a unified embedding for face recognition and clustering,
    https://doi.org/10.1109/CVPR.2015.7298682
    """
    check_number(margin, "margin", 0)
    anchor, positive, negative = _check_pairs(anchor=anchor, positive=positive, negative=negative)
    nearer = _squared_distances(anchor, positive) - _squared_distances(anchor, negative)
    return ops.mean(ops.maximum(nearer + margin, 0))


def alignment(first, second):
    """Return how far apart the two embeddings of a pair lie: the mean over the pairs of their squared distance.

    Embeddings are scaled to length 1 first, so the result lies in [0, 4]: 0 where the two of each pair are equal, 2
    where they are at right angles, 4 where they are opposite. A collapsed network is perfectly aligned: read it beside
    `uniformity`.

    Parameters
    ----------
    first, second : array_like of float, shape (n, d)
        Row i of both is a similar pair.

    Returns
    -------
    tensor of float32, shape ()

    Raises
    ------
    ValueError
        If the shapes are not (n, d) or differ.

    References
    ----------
    Wang and Isola (2020), Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere, https://arxiv.org/abs/2005.10242 (alpha = 2)
    """
    first, second = _check_pairs(first=first, second=second)
    return ops.mean(_squared_distances(_unit(first), _unit(second)))


def uniformity(embeddings):
    """Return how evenly embeddings lie on the sphere, lower is more even: log of the mean over pairs of exp(-2 d^2).

    Embeddings are scaled to length 1 first; d is the distance of two different rows. It is 0 where all of them are
    equal. Where they are spread evenly it nears -4 in high dimensions (all at right angles give -4); with n rows it
    cannot be below -4 n / (n - 1), so compare numbers of equally many rows.

    Parameters
    ----------
    embeddings : array_like of float, shape (n, d)
        Of different images; n is 2 or more.

    Returns
    -------
    tensor of float32, shape ()
        0 or less.

    Raises
    ------
    ValueError
        If the shape is not (n, d), or there is one row only. A compiled step of TensorFlow does not know beforehand
        how many there are: there the result for one row is NaN.

    References
    ----------
    Wang and Isola (2020), https://arxiv.org/abs/2005.10242 (t = 2)
    """
    embeddings = _floats(embeddings)
    _check_matrix(embeddings, "embeddings")
    if embeddings.shape[0] == 1:
        raise ValueError("One embedding has no distance to another: uniformity needs two rows or more.")
    embeddings = _unit(embeddings)
    n = ops.cast(ops.shape(embeddings)[0], "float32")
    cosines = ops.minimum(ops.matmul(embeddings, ops.transpose(embeddings)), 1)  # rounded, they may lie above
    exponents = 4 * (cosines - 1)  # -2 d^2 = -2 (2 - 2 cosine), from -8 to 0: no sum of these overflows
    return ops.log(ops.sum(ops.exp(_without_diagonal(exponents))) / (n * (n - 1)))


def _check_pairs(**embeddings) -> list:
    """Return matrices of embeddings as float32, all of one shape."""
    matrices = {name: _floats(values) for name, values in embeddings.items()}
    for name, values in matrices.items():
        _check_matrix(values, name)
    (name, matrix), *others = matrices.items()
    for other, values in others:
        if _differ(matrix, values):
            raise ValueError(
                f"`{name}` has shape {tuple(matrix.shape)} and `{other}` {tuple(values.shape)}: row i of both belongs "
                f"together, so they need one shape."
            )
    return list(matrices.values())


def _differ(one, other) -> bool:
    """Return whether two shapes are known to differ: None stands for a number that is not known yet."""
    sides = zip(one.shape, other.shape, strict=False)
    return len(one.shape) != len(other.shape) or any(a != b for a, b in sides if None not in (a, b))


def _squared_distances(first, second):
    return ops.sum(ops.square(first - second), axis=1)


def _safe_root(squares):
    """Return the square root, at 0 with the gradient 0."""
    above = squares > 0
    return ops.where(above, ops.sqrt(ops.where(above, squares, 1)), 0)


def _unit(embeddings):
    """Scale rows to length 1; rows that are too short to have a direction stay, so that no gradient explodes."""
    length = _safe_root(ops.sum(ops.square(embeddings), axis=1, keepdims=True))
    return embeddings / ops.where(length > _SHORTEST, length, 1)


def _without_diagonal(products):
    """Put what vanishes in a softmax where a row meets itself."""
    places = ops.arange(ops.shape(products)[0])
    return ops.where(ops.equal(places[:, None], places[None, :]), -1e30, products)


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


def _fails(conditions) -> bool:
    """Return whether a condition is known to fail somewhere: inside a compiled step nothing is known yet."""
    try:
        return not ops.convert_to_numpy(ops.all(conditions))
    except (NotImplementedError, TypeError):  # what the back-ends raise in a graph, which has no values yet
        return False


def _check_probabilities(values, name: str) -> None:
    if _fails(_inside(values)):
        values = ops.convert_to_numpy(values)
        raise ValueError(
            f"`{name}` lies in [{values.min():.3g}, {values.max():.3g}], but a probability lies in [0, 1]: "
            f"take sigmoid units, or the L1 penalty."
        )
