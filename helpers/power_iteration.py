"""Power iteration clustering: one vector instead of the eigenvectors of a graph."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin_min, pairwise_distances_chunked
from sklearn.neighbors import kneighbors_graph
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data
from threadpoolctl import threadpool_limits

from .validation import check_choice, check_number, check_whole

__all__ = ["PowerIterationClustering"]

_CONSTANT = 1e-12  # relative spread of a vector below which it is constant but for rounding
_DIGITS = 6  # of values in units of their spread: k-means takes closer ones for equal
_MEGABYTES = 64  # of distances between pieces at a time


class PowerIterationClustering(ClusterMixin, BaseEstimator):
    """Cluster a graph by a power iteration that is stopped early.

    Let A be the weights of a graph and W = D^-1 A, with the row sums of A on the diagonal of D. The iteration
    v <- W v / ||W v||_1 replaces each entry by the mean over its neighbours. In the end all entries of a connected
    graph are equal: that vector says nothing. But the way there says much. Entries that are well connected become
    equal soon, and the differences *between* clusters, which few edges join, die out last: v is a combination of all
    eigenvectors, each weighted by a power of its eigenvalue, and the leading ones survive longest. So the iteration
    stops as soon as it has stopped *accelerating*, and k-means clusters the entries of v, one number for each row.

    Each step costs one product with a sparse matrix: O(edges). Spectral clustering computes k eigenvectors instead
    of one mixture of them, and is the better clustering where that can be afforded, as on digits, which the tests of
    this module hold; with many clusters one dimension is crowded, and much depends on the start. Here several starts
    run together, and of their clusterings the one with the least normalised cut is kept, the quantity that spectral
    clustering relaxes. That choice also tells against trivial clusters: a single row cut off from its neighbours adds
    1 to the cut, the most that a cluster can. No cluster is empty: k-means starts from rows of different values, and
    a vector with fewer values than clusters is refused.

    DeepCluster calls a different algorithm "PIC": it adds a little of a constant vector in every step, lets each node
    climb to the neighbour with which it differs most, and finds the number of clusters itself.

    Parameters
    ----------
    n_clusters : int
        1 to n.
    affinity : {'nearest_neighbors', 'precomputed'}
        ``'nearest_neighbors'`` joins two rows of X if either is among the `n_neighbors` nearest of the other, with
        weight 1. Where that graph falls into more pieces than clusters, the pieces are linked by their nearest rows
        (a minimum spanning tree of pieces). With ``'precomputed'`` X is the graph itself, sparse or dense.
    n_neighbors : int
        1 or more; n - 1 are taken where there are no more.
    init : {'random', 'degree'}
        Starts drawn uniformly from [0, 1), or the single start of the paper, the row sums of A over their sum. The
        degrees know little of the clusters in a graph of nearest neighbours, where they are nearly equal; several
        random starts find digits better.
    n_init : int
        Random starts.
    tol : float
        The iteration stops when no entry of |v_t+1 - v_t| changes by more than ``tol / n`` in a step. 0 never stops.
    max_iter : int
        Steps at most.
    random_state : int, RandomState or None
        Draws the starts, and those of k-means.

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n,)
        Cluster numbers 0 to n_clusters - 1.
    embedding_ : ndarray of float64, shape (n,)
        The vector that was clustered. In each piece of the graph its absolute values sum to 1.
    affinity_matrix_ : csr_array of float64, shape (n, n)
        The graph.
    n_iter_ : int
        Steps until the last start stopped, each of one sparse product.
    n_features_in_ : int
        Columns of X.

    Notes
    -----
    In a graph of several pieces v becomes constant on each piece, whatever the clusters within. With as many pieces
    as clusters the pieces are the clusters. With fewer, each piece is iterated by itself, and the pieces are split
    one cluster at a time where that adds least to the normalised cut. With more pieces than clusters the graph does
    not say which of them belong together, and a precomputed one is refused, as is one with isolated points.

    Where no cycle of the graph is odd, as in a tree, v oscillates between two sides. Weights on the diagonal, which
    are kept, damp that.

    References
    ----------
    Lin and Cohen (2010), Power iteration clustering, Proceedings of the 27th International Conference on Machine
    Learning, 655-662 ; Shi and Malik (2000), for the normalised cut, https://doi.org/10.1109/34.868688 ; Caron,
    Bojanowski, Joulin and Douze (2018), DeepCluster, https://arxiv.org/abs/1807.05520

    Examples
    --------
    >>> rows = [[0.0], [0.2], [0.3], [0.5], [5.0], [5.1], [5.3], [5.4]]
    >>> found = PowerIterationClustering(2, n_neighbors=2, random_state=0).fit(rows)
    >>> sorted(np.bincount(found.labels_).tolist())
    [4, 4]
    """

    def __init__(
        self,
        n_clusters=8,
        *,
        affinity="nearest_neighbors",
        n_neighbors=10,
        init="random",
        n_init=10,
        tol=1e-5,
        max_iter=1000,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.affinity = affinity
        self.n_neighbors = n_neighbors
        self.init = init
        self.n_init = n_init
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    @threadpool_limits.wrap(limits=1)  # the same sums on any number of cores, and on small data faster
    def fit(self, X, y=None):
        """Find the clusters.

        Parameters
        ----------
        X : array_like or sparse matrix of float, shape (n, d), or with ``affinity="precomputed"`` (n, n)
        y : None
            Ignored; scikit-learn passes it.

        Returns
        -------
        PowerIterationClustering

        Raises
        ------
        ValueError
            If a parameter is out of range, there are more clusters than rows, or a precomputed graph is not square,
            not symmetric, negative somewhere, has isolated points, or falls into more pieces than clusters.
        """
        self._check_parameters()
        rows = validate_data(self, X, accept_sparse="csr", dtype=np.float64, ensure_min_samples=2)
        n = rows.shape[0]
        if self.n_clusters > n:
            raise ValueError(f"{self.n_clusters} clusters asked for with {n} rows: ask for 1 to {n}.")
        graph = _check_graph(rows) if self.affinity == "precomputed" else self._neighbour_graph(rows)
        pieces = _pieces(graph)
        if len(pieces) > self.n_clusters:
            raise ValueError(
                f"The graph falls into {len(pieces)} pieces, and nothing says which of them belong together in "
                f"{self.n_clusters} clusters: join more neighbours, or ask for {len(pieces)} clusters or more."
            )
        random = check_random_state(self.random_state)
        iterated = [_Piece(graph[piece][:, piece], self, random) for piece in pieces]
        self.labels_, self.embedding_ = np.empty(n, np.int64), np.empty(n)
        first = 0
        for piece, one, number in zip(pieces, iterated, _shared_out(iterated, self.n_clusters), strict=True):
            labels, start = one.clusters(number)
            self.labels_[piece], self.embedding_[piece] = first + labels, one.vectors[:, start]
            first += number
        graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
        self.affinity_matrix_ = graph  # with the indices that scikit-learn takes
        self.n_iter_ = max(one.steps for one in iterated)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = self.affinity == "precomputed"
        return tags

    def _check_parameters(self) -> None:
        check_whole(self.n_clusters, "n_clusters", 1)
        check_choice(self.affinity, ("nearest_neighbors", "precomputed"), "affinity")
        check_whole(self.n_neighbors, "n_neighbors", 1)
        check_choice(self.init, ("random", "degree"), "init")
        check_whole(self.n_init, "n_init", 1)
        check_number(self.tol, "tol", 0)
        check_whole(self.max_iter, "max_iter", 1)

    def _neighbour_graph(self, rows):
        neighbours = kneighbors_graph(rows, min(self.n_neighbors, rows.shape[0] - 1), include_self=False)
        graph = sparse.csr_array(neighbours.maximum(neighbours.T))
        pieces = _pieces(graph)
        return graph if len(pieces) <= self.n_clusters else _linked(graph, rows, pieces)


class _Piece:
    """A connected graph, the vectors that the iteration finds on it, and the clusters in them."""

    def __init__(self, graph, estimator: PowerIterationClustering, random: np.random.RandomState):
        self.graph = graph
        self.random = random
        degrees = graph.sum(axis=1)
        starts = (
            random.uniform(size=(len(degrees), estimator.n_init)) if estimator.init == "random" else degrees[:, None]
        )
        walk = sparse.diags_array(1 / degrees).tocsr() @ graph
        self.vectors, self.steps = _iterate(walk, starts, estimator.tol, estimator.max_iter)
        self.found = {1: (np.zeros(len(degrees), np.int64), 0, 0.0)}  # number of clusters: labels, start, cut

    def clusters(self, number: int) -> tuple[np.ndarray, int]:
        """Return the labels of so many clusters, and which of the starts gave them."""
        return self._best(number)[:2]

    def cut(self, number: int) -> float:
        """Return the normalised cut of so many clusters, infinite where no start gives so many."""
        try:
            return self._best(number)[2]
        except ValueError:
            return np.inf

    def _best(self, number: int):
        if number not in self.found:
            labelled = [(self._cluster(vector, number), start) for start, vector in enumerate(self.vectors.T)]
            cuts = [_normalised_cut(self.graph, labels, number) for labels, start in labelled if labels is not None]
            labelled = [(labels, start) for labels, start in labelled if labels is not None]
            if not labelled:
                raise ValueError(
                    f"The iteration leaves fewer than {number} different values for {number} clusters: ask for fewer, "
                    f"take random starts, or stop earlier by a larger `tol`."
                )
            best = int(np.argmin(cuts))
            self.found[number] = (*labelled[best], cuts[best])
        return self.found[number]

    def _cluster(self, vector: np.ndarray, number: int) -> np.ndarray | None:
        """Return the labels of k-means on one vector, None if it has too few values."""
        spread = vector.std()
        if spread <= _CONSTANT * np.abs(vector).max():
            return None
        values = (vector - vector.mean()) / spread  # the differences that count are far smaller than the mean
        values = values.round(_DIGITS)
        if len(np.unique(values)) < number:
            return None
        return KMeans(number, n_init=3, random_state=self.random).fit_predict(values[:, None]).astype(np.int64)


def _iterate(walk, starts: np.ndarray, tol: float, max_iter: int) -> tuple[np.ndarray, int]:
    """Return the vector of each start, shape (n, starts), and the steps until the last had stopped."""
    vectors = starts / np.abs(starts).sum(axis=0)
    changes = vectors.copy()  # the first change, as if from 0: a single step never suffices
    going = np.arange(vectors.shape[1])
    for step in range(1, max_iter + 1):
        following = _step(walk, vectors[:, going])
        change = np.abs(following - vectors[:, going])
        acceleration = np.abs(change - changes[:, going]).max(axis=0)
        vectors[:, going], changes[:, going] = following, change
        going = going[~(acceleration <= tol / len(vectors))] if tol else going
        if not len(going):
            return vectors, step
    if tol:
        warnings.warn(
            f"{len(going)} of {vectors.shape[1]} starts still accelerate after max_iter={max_iter} steps: "
            f"allow more steps, or a larger `tol`.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return vectors, max_iter


def _step(walk, vectors: np.ndarray) -> np.ndarray:
    """Replace each entry by the mean over its neighbours: one product with a sparse matrix."""
    following = walk @ vectors
    return following / np.abs(following).sum(axis=0)


def _normalised_cut(graph, labels: np.ndarray, number: int) -> float:
    """Return the sum over clusters of the weight of their edges that leave it, as a share of all their edges."""
    edges = graph.tocoo()
    ends, others = (labels[place] for place in edges.coords)
    weights = np.bincount(ends, edges.data, minlength=number)
    leaving = np.bincount(ends, edges.data * (ends != others), minlength=number)
    return float(np.sum(leaving / weights))


def _shared_out(iterated: list[_Piece], clusters: int) -> list[int]:
    """Return how many clusters each piece gets: one first, then one more wherever that adds least to the cut."""
    if len(iterated) == 1:
        return [clusters]
    numbers = [1] * len(iterated)
    while sum(numbers) < clusters:
        added = [one.cut(number + 1) - one.cut(number) for one, number in zip(iterated, numbers, strict=True)]
        numbers[int(np.argmin(added))] += 1
    return numbers


def _pieces(graph) -> list[np.ndarray]:
    """Return the rows of each connected component."""
    number, member = connected_components(graph, directed=False)
    return [np.flatnonzero(member == piece) for piece in range(number)]


def _linked(graph, rows, pieces: list[np.ndarray]):
    """Join pieces by edges between their nearest rows: as few as connect all, and the shortest."""
    gaps = _gaps(rows, pieces)
    tree = minimum_spanning_tree(np.triu(gaps + (gaps.max() or 1.0), 1)).tocoo()  # a length of 0 would be no edge
    ends = np.array([_nearest(rows, pieces[one], pieces[other]) for one, other in zip(*tree.coords, strict=True)]).T
    edges = sparse.csr_array((np.ones(len(ends[0])), tuple(ends)), shape=graph.shape)
    return sparse.csr_array(graph.maximum(edges).maximum(edges.T))


def _gaps(rows, pieces: list[np.ndarray]) -> np.ndarray:
    """Return the distances between the nearest rows of two pieces, shape (pieces, pieces), above the diagonal."""
    ordered, firsts = rows[np.concatenate(pieces)], np.cumsum([0, *map(len, pieces)])
    gaps = np.zeros((len(pieces), len(pieces)))
    for number, piece in enumerate(pieces[:-1]):
        others, starts = ordered[firsts[number + 1] :], firsts[number + 1 : -1] - firsts[number + 1]
        parts = pairwise_distances_chunked(
            rows[piece],
            others,
            reduce_func=lambda part, _, starts=starts: np.minimum.reduceat(part, starts, axis=1),
            working_memory=_MEGABYTES,
        )
        gaps[number, number + 1 :] = np.concatenate(list(parts)).min(axis=0)
    return gaps


def _nearest(rows, one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Return the row of each of two pieces that is nearest to the other piece."""
    nearest, distances = pairwise_distances_argmin_min(rows[one], rows[other])
    least = int(distances.argmin())
    return one[least], other[nearest[least]]


def _check_graph(graph):
    """Return a graph as a csr_array: square, symmetric, not negative, nobody isolated."""
    n, columns = graph.shape
    if n != columns:
        raise ValueError(f"The graph has shape ({n}, {columns}), but it joins n rows with n rows.")
    graph = sparse.csr_array(graph, copy=True)  # it is the caller's, and is to stay as it is
    graph.eliminate_zeros()
    if graph.nnz and graph.data.min() < 0:
        raise ValueError(f"The graph holds {graph.data.min():.3g}, but weights are 0 or more.")
    if graph.nnz and np.abs((graph - graph.T).data).max(initial=0) > 1e-6 * graph.data.max():
        raise ValueError("The graph is not symmetric: take `graph.maximum(graph.T)`, so that both ends agree.")
    alone = np.flatnonzero(graph.sum(axis=1) - graph.diagonal() <= 0)
    if len(alone):
        raise ValueError(
            f"The graph has isolated points ({len(alone)}, the first in row {alone[0]}), which belong to no cluster: "
            f"leave them out, or join them to a neighbour."
        )
    return graph
