"""Distances between images whose features are too many for memory.

Everything here starts from the Gram matrix, the n x n matrix of inner products of the rows. It is a sum over
columns, so it can be gathered block of columns by block of columns: 4,000 images of 341,056 features need a
matrix of 64 MB and one block at a time, whether the features lie in memory or in a file. Distances, principal
components and classical scaling all follow from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.linalg.blas import ssyrk
from scipy.sparse.linalg import eigsh
from scipy.spatial.distance import pdist, squareform
from threadpoolctl import threadpool_limits

from .validation import check_choice, check_whole

__all__ = [
    "METRICS",
    "PrincipalComponents",
    "check_distances",
    "distances_from_gram",
    "gram_from_distances",
    "gram_matrix",
    "limited_threads",
    "multiply",
    "pairwise_distances",
    "principal_components",
]

METRICS = ("euclidean", "cosine", "standardised", "whitened")
ENGINES = ("blas", "keras")  # who multiplies matrices

_BLOCK = 2**25  # numbers in a block of columns: 128 MiB in float32, wide enough that BLAS runs at its full rate
_TILE = 512  # rows and columns of the n x n matrices that are worked on at once, few enough for the cache
_DIRECT = 10**9  # up to so many differences SciPy's loop over pairs takes about a second, and rounds least
_NEAR = 1e-3  # pairs whose squared distance is a smaller share of their squared norms are measured again
_CLUSTER = 32  # a row with so many pairs to measure again has a cluster about it, which gets a Gram matrix of its own
_PROBE = 15  # rows whose median is the middle of a block
_LARGE = 2000  # from so many rows on the work is shared between processors
_WHITENED_COMPONENTS = 50


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Rows in the coordinates of their principal components.

    Attributes
    ----------
    scores : ndarray of float32, shape (n, k)
        Column j is the projection onto the j-th direction, centred; its sign makes the largest entry positive.
    explained_variance_ratio : ndarray of float64, shape (k,)
        The share of the total variance that lies along each direction, falling.
    """

    scores: np.ndarray
    explained_variance_ratio: np.ndarray


def gram_matrix(features, *, centre: bool = True, standardise: bool = False, engine: str = "blas") -> np.ndarray:
    """Return the inner products of all pairs of rows, reading the features block of columns by block of columns.

    A block holds all rows, so the mean and the standard deviation of its columns are exact: nothing is
    approximated by streaming. Centring changes no distance, and it keeps digits: sums of float32 products round
    in proportion to the norms, which are least about the mean.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        In memory or a memory map, float16, float32 or float64.
    centre : bool
        Subtract each column's mean.
    standardise : bool
        Subtract each column's mean and divide by its standard deviation; columns of one value are left out.
    engine : {'blas', 'keras'}
        ``"blas"`` adds each block by a symmetric rank-k update, in place and at half the cost of a full product.
        ``"keras"`` multiplies on the device of the Keras back-end, a GPU where there is one. There each number
        is split into two of 11 bits, so that tensor cores that multiply 11 bits (TF32) lose nothing that matters.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Exactly symmetric. Its entries are off by some 1e-6 of the product of the two rows' norms.

    Raises
    ------
    ValueError
        If `features` is no matrix of real numbers, holds NaN or infinity, or is too large for squares in float32; or
        if `standardise` is asked for and every column is constant.

    Notes
    -----
    Memory: the result (4 n^2 bytes) and about 0.4 GiB, whatever d is.

    Examples
    --------
    >>> import numpy as np
    >>> gram_matrix([[0.0, 0.0], [3.0, 4.0]], centre=False)
    array([[ 0.,  0.],
           [ 0., 25.]], dtype=float32)
    """
    check_choice(engine, ENGINES, "engine")
    features = _check_matrix(features)
    blocks = _column_blocks(features, centre="mean" if centre or standardise else None, standardise=standardise)
    with limited_threads(len(features)):
        gram = _add_by_blas(blocks, len(features)) if engine == "blas" else _add_by_keras(blocks)
    return _check_norms(gram)


def multiply(one: np.ndarray, other: np.ndarray, engine: str = "blas") -> np.ndarray:
    """Return the product of two matrices, from NumPy and BLAS or from the device of the Keras back-end.

    Parameters
    ----------
    one, other : ndarray of float
    engine : {'blas', 'keras'}
        As for `gram_matrix`. ``"keras"`` works in float32.

    Returns
    -------
    ndarray
    """
    if engine == "blas":
        return one @ other
    from keras import ops

    (high, low), (other_high, other_low) = _halves(one), _halves(other)
    product = ops.matmul(high, other_high) + ops.matmul(high, other_low) + ops.matmul(low, other_high)
    return ops.convert_to_numpy(product)


def distances_from_gram(gram, *, overwrite: bool = False) -> np.ndarray:
    """Return the Euclidean distances of the rows whose inner products are given: sqrt(g_ii + g_jj - 2 g_ij).

    Parameters
    ----------
    gram : array_like of float, shape (n, n)
    overwrite : bool
        Put the result in the place of a float32 `gram`, which saves a matrix; it must not be read-only.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Symmetric, zero on the diagonal, never NaN. A difference of nearly equal numbers keeps few digits:
        distances below about a thousandth of the rows' norms are rounding. `pairwise_distances`, which has the
        features at hand, measures those again.

    Examples
    --------
    >>> import numpy as np
    >>> distances_from_gram([[0.0, 0.0], [0.0, 25.0]])
    array([[0., 5.],
           [5., 0.]], dtype=float32)
    """
    squared = np.array(_check_square(gram, "gram"), np.float32, copy=None if overwrite else True)
    if not squared.flags.writeable:
        raise ValueError("`gram` is read-only: leave `overwrite` out, and the distances get a place of their own.")
    _square_distances(squared)
    return np.sqrt(squared, out=squared)


def gram_from_distances(distances) -> np.ndarray:
    """Return the centred inner products that give these distances: -1/2 J D^2 J with J = I - 1/n.

    With `principal_components` this is classical scaling. For Euclidean distances the result is the Gram matrix
    of the centred rows; for others it may have negative eigenvalues, which no rows have.

    Parameters
    ----------
    distances : array_like of float, shape (n, n)

    Returns
    -------
    ndarray of float32, shape (n, n)

    References
    ----------
    Torgerson (1952), https://doi.org/10.1007/BF02288916 ; Gower (1966), https://doi.org/10.1093/biomet/53.3-4.325

    Examples
    --------
    >>> import numpy as np
    >>> gram_from_distances([[0.0, 2.0], [2.0, 0.0]])
    array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)
    """
    gram = np.square(check_distances(distances), dtype=np.float32)
    gram *= np.float32(-0.5)
    return _centre_twice(gram)


def pairwise_distances(features, metric: str = "euclidean", *, components: int | None = None) -> np.ndarray:
    """Return the distances of all pairs of rows.

    In high dimension raw distances concentrate, and columns of large variance drown the rest. The other metrics
    show whether a finding survives once that is corrected.

    Parameters
    ----------
    features : array_like of float, shape (n, d)
        In memory or a memory map, float16, float32 or float64.
    metric : {'euclidean', 'cosine', 'standardised', 'whitened'}
        ``"cosine"``: 1 - cosine of the angle between the rows, in [0, 2].
        ``"standardised"``: Euclidean after every column is given mean 0 and variance 1; constant columns are left
        out.
        ``"whitened"``: Euclidean after the leading principal components are given variance 1 each (the
        Mahalanobis distance within them). With all n - 1 components every pair of rows would be equally far
        apart, whatever the data: far fewer than n have to be kept.
    components : int, optional
        For ``"whitened"``: how many are kept, 1 to the rank. By default 50, but at most n / 10, the least rows
        for each variance that is estimated, and at most the rank. One number for all layers of a network also
        makes their goodness comparable, which shrinks with dimension.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Symmetric, zero on the diagonal.

    Raises
    ------
    ValueError
        If `features` is no matrix of real numbers, holds NaN or infinity, or is too large for squares in float32; if
        a row is zero (cosine) or all columns are constant (standardised, whitened); if `components` is no whole number
        or there are fewer than asked for.

    Notes
    -----
    Small tasks go pair by pair through SciPy in float64. Large ones go through the Gram matrix of the rows about
    their middle, a median that rows far out do not move, in the memory of one n x n matrix and a block of columns.
    Pairs too close for its digits are measured again: those of a tight cluster through a Gram matrix about its own
    middle, the others directly. So relative errors stay near 1e-4, and duplicates are at distance 0.

    Examples
    --------
    >>> pairwise_distances([[0.0, 0.0], [3.0, 4.0]])
    array([[0., 5.],
           [5., 0.]], dtype=float32)
    """
    check_choice(metric, METRICS, "metric")
    features = _check_matrix(features)
    if components is not None and metric != "whitened":
        raise ValueError(f"`components` is for the metric 'whitened': leave it out with {metric!r}.")
    if metric == "whitened":
        return pairwise_distances(_whitened(features, components))
    options = {"standardise": metric == "standardised", "norms": _norms(features) if metric == "cosine" else None}
    n, d = features.shape
    with limited_threads(n):
        if n * n * d <= _DIRECT:
            distances = _pair_by_pair(features, options)
        else:
            distances = _squares_through_gram(features, options)
            np.sqrt(distances, out=distances)
    if metric == "cosine":  # half the squared distance of the rows on the unit sphere
        np.square(distances, out=distances)
        distances /= 2
    return distances


def principal_components(gram, components: int | None = None) -> PrincipalComponents:
    """Return the principal components of the rows whose inner products are given (dual PCA).

    The eigenvectors of the n x n Gram matrix, times the roots of their eigenvalues, are the scores that PCA finds
    from the d x d covariance: with d much larger than n this is the short way, and the features are not needed.
    All components together keep every distance.

    Parameters
    ----------
    gram : array_like of float, shape (n, n)
        As `gram_matrix` or `gram_from_distances` return it. It is centred here if it is not.
    components : int, optional
        How many of the leading ones, 1 to n. By default all.

    Returns
    -------
    PrincipalComponents

    Raises
    ------
    ValueError
        If `gram` is not square or holds NaN, `components` is out of range, or the rows are all equal.

    Notes
    -----
    Up to n = 2,000 by a full decomposition in float64; above, where less than a tenth of the components is asked
    for, by Lanczos iterations in float32, which take a few hundred products with the matrix.

    References
    ----------
    Gower (1966), https://doi.org/10.1093/biomet/53.3-4.325 ; Jolliffe (2002), Principal Component Analysis,
    https://doi.org/10.1007/b98835, section 5.3

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[-2.0, 1.0], [-2.0, -1.0], [2.0, 1.0], [2.0, -1.0]])
    >>> principal_components(gram_matrix(rows)).explained_variance_ratio.round(3)
    array([0.8, 0.2, 0. , 0. ])
    """
    gram = _check_square(gram, "gram")
    n = len(gram)
    components = n if components is None else check_whole(components, "components", 1, n)
    few = n > 2000 and components < n / 10
    centred = _centre_twice(np.array(gram, np.float32 if few else np.float64))
    total = float(np.trace(centred))
    if not total > 1e-12 * float(np.abs(np.diagonal(gram)).max()):
        raise ValueError("All rows are equal: they vary in no direction.")
    with limited_threads(n):
        if few:
            start = np.random.default_rng(0).normal(size=n).astype(np.float32)
            values, vectors = eigsh(centred, k=components, v0=start)
            values, vectors = values[::-1], vectors[:, ::-1]
        else:
            values, vectors = scipy.linalg.eigh(centred, overwrite_a=True, check_finite=False)
            values, vectors = values[: -components - 1 : -1], vectors[:, : -components - 1 : -1]
    values = np.maximum(values, 0).astype(np.float64)  # rounding leaves small negative ones
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    scores = vectors * (np.sqrt(values) * np.where(largest < 0, -1, 1))
    return PrincipalComponents(np.ascontiguousarray(scores, np.float32), values / total)


def limited_threads(n: int):
    """One thread for fewer than 2,000 rows, which gain little from more and then give the same sums on any machine."""
    return threadpool_limits(limits=1) if n < _LARGE else nullcontext()


def check_distances(distances, name: str = "distances") -> np.ndarray:
    """Return a matrix of distances as float32 or float64, shape (n, n), without a copy where it is one already.

    Raises
    ------
    ValueError
        If it is not square, holds NaN, infinity or a negative number, is not symmetric, is not zero on the
        diagonal, or is zero everywhere.
    """
    matrix = _as_square(distances, name)
    low, high, skew = 0.0, 0.0, 0.0
    for one, other in _tiles(len(matrix)):  # one pass: of large matrices the reading is what takes time
        tile, image = matrix[one, other], matrix[other, one].T
        low, high = np.minimum(low, tile.min()), np.maximum(high, tile.max())  # these two pass NaN on
        with np.errstate(invalid="ignore"):  # infinity - infinity
            skew = np.maximum(skew, np.abs(tile - image).max())
    if not np.isfinite([low, high, skew]).all():
        _check_finite(matrix, name)
    if low < 0:
        raise ValueError(f"`{name}` holds {low:.3g}, but distances are 0 or more.")
    if np.any(np.diagonal(matrix) != 0):
        row = int(np.flatnonzero(np.diagonal(matrix))[0])
        raise ValueError(
            f"`{name}` has {matrix[row, row]:.3g} on its diagonal (row {row}), but a row is at distance 0 from itself."
        )
    if skew > 1e-5 * high:
        raise ValueError(f"`{name}` is not symmetric: the distance from i to j must be that from j to i.")
    if high == 0:
        raise ValueError(f"All `{name}` are 0: the rows are copies of one, and nothing can be told apart.")
    return matrix


def _check_matrix(features) -> np.ndarray:
    matrix = features if isinstance(features, np.ndarray) else np.asarray(features)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(
            f"`features` has shape {matrix.shape}, but a feature matrix has two axes (n, d), neither empty: "
            f"flatten each image's features first."
        )
    if not np.issubdtype(matrix.dtype, np.number) or np.iscomplexobj(matrix):
        raise ValueError(f"`features` has dtype {matrix.dtype}, but features are real numbers.")
    return matrix


def _as_square(matrix, name: str) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"`{name}` has shape {matrix.shape}, but it must be square: one row and one column per image.")
    if not np.issubdtype(matrix.dtype, np.number) or np.iscomplexobj(matrix):
        raise ValueError(f"`{name}` has dtype {matrix.dtype}, but its entries are real numbers.")
    return matrix if matrix.dtype == np.float64 else matrix.astype(np.float32, copy=False)


def _check_finite(matrix: np.ndarray, name: str) -> np.ndarray:
    for row, entries in enumerate(matrix):
        if not np.isfinite(entries).all():
            raise ValueError(f"`{name}` holds NaN or infinity (first in row {row}): look at that image's features.")
    return matrix


def _check_square(matrix, name: str) -> np.ndarray:
    return _check_finite(_as_square(matrix, name), name)


def _tiles(n: int) -> Iterator[tuple[slice, slice]]:
    """Cut the upper triangle of an n x n matrix into tiles that fit the cache, those of the diagonal included."""
    for top in range(0, n, _TILE):
        for left in range(top, n, _TILE):
            yield slice(top, top + _TILE), slice(left, left + _TILE)


def _column_blocks(
    features, *, centre: str | None = "middle", standardise=False, norms=None, rows=None, number=np.float32
) -> Iterator[np.ndarray]:
    """Yield some rows of the features, a block of columns at a time, divided by `norms`, standardised, and centred.

    All but the centring of features of 16 or 32 bits is done in float64, before the block is cast to `number`: what is
    subtracted first costs no digits. The middle of the rows is the median of a few, whom outliers seldom are among;
    their mean is taken off after that.
    """
    (n, d), chosen = features.shape, slice(None) if rows is None else rows
    read = slice(None) if standardise else chosen  # deviations are those of all rows
    exact = standardise or norms is not None or number == np.float64 or not np.can_cast(features.dtype, np.float32)
    width = max(1, _BLOCK // (n if read is not rows else len(rows)) // (2 if exact else 1))
    varying = False
    for start in range(0, d, width):
        block = np.array(features[read, start : start + width], np.float64 if exact else np.float32, order="C")
        if not np.maximum(block.max(), -block.min()) <= np.finfo(np.float32).max:
            row, column = np.argwhere(~(np.abs(block) <= np.finfo(np.float32).max))[0]
            raise ValueError(
                f"`features` holds NaN or infinity (first in row {row}, column {start + column}): "
                f"look for a diverged training or a division by zero."
            )
        if norms is not None:
            block /= norms[chosen, None]
        if standardise:
            block = block[:, block.min(axis=0) < block.max(axis=0)]
            varying |= block.shape[1] > 0
            block /= block.std(axis=0)
            block = block[chosen]
        if not block.shape[1]:
            continue
        if centre:
            block -= np.median(block[np.linspace(0, len(block) - 1, min(len(block), _PROBE)).astype(int)], axis=0)
        block = block.astype(number, copy=False)
        if centre == "mean":
            block -= block.mean(axis=0, dtype=np.float64).astype(number)
        yield block
    if standardise and not varying:
        raise ValueError("Every column of `features` is constant: there is nothing to standardise.")


def _norms(features) -> np.ndarray:
    """The length of each row."""
    squares = np.zeros(len(features))
    for block in _column_blocks(features, centre=None, number=np.float64):
        squares += np.einsum("ij,ij->i", block, block)
    if not squares.all():
        row = int(np.flatnonzero(squares == 0)[0])
        raise ValueError(f"Row {row} of `features` is all zero: it has no direction, and so no cosine.")
    return np.sqrt(squares)


def _add_by_blas(blocks: Iterator[np.ndarray], n: int) -> np.ndarray:
    gram = np.zeros((n, n), np.float32, order="F")
    for block in blocks:
        # the transpose of a C-ordered block is Fortran-ordered, as BLAS wants it: nothing is copied
        gram = ssyrk(1.0, block.T, beta=1.0, c=gram, trans=1, overwrite_c=1)
    return _mirror(gram.T)


def _mirror(matrix: np.ndarray) -> np.ndarray:
    """Copy the lower triangle of a matrix to its upper one, in place."""
    for one, other in _tiles(len(matrix)):
        if one == other:
            tile = np.tril(matrix[one, one])
            matrix[one, one] = tile + np.tril(tile, -1).T
        else:
            matrix[one, other] = matrix[other, one].T
    return matrix


def _check_norms(gram: np.ndarray) -> np.ndarray:
    if not np.isfinite(np.diagonal(gram)).all():
        raise ValueError("`features` are too large: their squares sum to more than 3e38. Divide them by a constant.")
    return gram


def _add_by_keras(blocks: Iterator[np.ndarray]) -> np.ndarray:
    from keras import ops  # here, because Keras takes seconds to import and BLAS does without it

    gram = 0.0
    for block in blocks:
        high, low = _halves(block)
        across = ops.matmul(high, ops.transpose(low))
        gram = gram + ops.matmul(high, ops.transpose(high)) + across + ops.transpose(across)
    return _mirror(np.array(ops.convert_to_numpy(gram), np.float32))  # products of devices need not be symmetric


def _halves(matrix: np.ndarray) -> tuple:
    """Two tensors whose sum is the matrix: the first 11 bits of each number, and the rest."""
    from keras import ops

    matrix = matrix.astype(np.float32, copy=False)
    leading = (matrix.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return ops.convert_to_tensor(leading), ops.convert_to_tensor(matrix - leading)


def _square_distances(gram: np.ndarray, near: float = 0.0) -> np.ndarray:
    """Turn a Gram matrix into squared distances in place, and count in each row those that are put to -1.

    These are smaller than the share `near` of the two rows' squared norms: too close for the matrix' digits.
    """
    norms, counts = np.diagonal(gram).copy(), np.zeros(len(gram), int)
    for start in range(0, len(gram), _TILE):
        rows = gram[start : start + _TILE]
        squares = norms[start : start + _TILE, None] + norms
        rows *= np.float32(-2)
        rows += squares
        np.maximum(rows, 0, out=rows)
        np.fill_diagonal(rows[:, start:], np.inf)
        if near:
            squares *= np.float32(near)
            close = rows < squares
            counts[start : start + _TILE] = close.sum(axis=1)
            np.copyto(rows, -1, where=close)
    np.fill_diagonal(gram, 0)
    return counts


def _pair_by_pair(features, options) -> np.ndarray:
    rows = np.concatenate(list(_column_blocks(features, centre=None, number=np.float64, **options)), axis=1)
    return squareform(pdist(rows)).astype(np.float32)


def _squares_through_gram(features, options, rows: np.ndarray | None = None) -> np.ndarray:
    """Squared distances of some rows, or of all; pairs too close for their Gram matrix are measured again.

    A row with many such pairs has a tight cluster about it, which lies far from the middle of all. About its own
    middle the cluster is less tight, so the depth of this recursion grows with the logarithm of the range of scales.
    """
    n = len(features) if rows is None else len(rows)
    squared = _check_norms(_add_by_blas(_column_blocks(features, rows=rows, **options), n))
    counts = _square_distances(squared, _NEAR)
    while _CLUSTER <= counts.max() < n - 1:
        row = counts.argmax()
        cluster = np.union1d(row, np.flatnonzero(squared[row] < 0))
        counts[cluster] -= np.sum(squared[np.ix_(cluster, cluster)] < 0, axis=1)
        squared[np.ix_(cluster, cluster)] = _squares_through_gram(
            features, options, cluster if rows is None else rows[cluster]
        )
    if counts.any():
        _measure_again(squared, features, options, rows)
    return squared


def _measure_again(squared: np.ndarray, features, options, rows: np.ndarray) -> None:
    """Put in the place of each -1 the square of the distance, from the rows' differences."""
    close = [np.nonzero(squared[start : start + _TILE] < 0) for start in range(0, len(squared), _TILE)]
    first = np.concatenate([rows_of + _TILE * number for number, (rows_of, _) in enumerate(close)])
    second = np.concatenate([columns for _, columns in close])
    first, second = first[first < second], second[first < second]
    squares = np.zeros(len(first))
    for block in _column_blocks(features, centre=None, rows=rows, number=np.float64, **options):
        size = max(1, _BLOCK // 4 // block.shape[1])
        for start in range(0, len(first), size):
            part = slice(start, start + size)
            difference = block[first[part]] - block[second[part]]
            squares[part] += np.einsum("ij,ij->i", difference, difference)
    squared[first, second] = squares
    squared[second, first] = squares


def _whitened(features, components: int | None) -> np.ndarray:
    n = len(features)
    if components is not None:
        check_whole(components, "components", 1)
    wanted = max(2, min(_WHITENED_COMPONENTS, n // 10)) if components is None else components
    found = principal_components(gram_matrix(features), min(n, wanted))
    rank = int(np.sum(found.explained_variance_ratio > 1e-6 * found.explained_variance_ratio[0]))
    if components is not None and rank < components:
        raise ValueError(f"{components} components asked for, but the features vary in {rank} directions only.")
    scores = found.scores[:, :rank]
    return scores / scores.std(axis=0)


def _centre_twice(gram: np.ndarray) -> np.ndarray:
    """Subtract the means of rows and columns, in place."""
    means = gram.mean(axis=1, dtype=np.float64)
    gram -= (means - means.mean() / 2).astype(gram.dtype)
    gram -= (means - means.mean() / 2).astype(gram.dtype)[:, None]
    return gram
