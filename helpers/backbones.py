"""Networks that more than one chapter uses: a small encoder, and deep ones with their weights and their stages."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import keras
import numpy as np
from keras import layers
from tqdm import tqdm

from . import runtime
from . import weights as stored
from .validation import check_choice, check_whole

__all__ = [
    "Backbone",
    "Preparation",
    "available",
    "batch_normalizations",
    "load",
    "measure_statistics",
    "pooled_encoder",
    "published_files",
    "small_decoder",
    "small_encoder",
]

WEIGHTS = ("imagenet", "self_made", "random")


@dataclass(frozen=True, eq=False)
class Backbone:
    """A deep network with its weights, whose stages are computed in one pass.

    Attributes
    ----------
    name : str
    model : keras.Model
        Takes images (n, h, w, c) in [0, 1] of any size, grey (c = 1) or in colour (c = 3); it resizes them,
        repeats grey and scales the values as the network was trained. Returns one matrix (n, d) for each stage.
    sizes : dict of str to int
        The stages from first to last, and the number of features of each.
    weights : {'imagenet', 'self_made', 'random'}
    source : str
        A sentence about the weights, to print and to store beside every result.
    digest : str
        SHA-256 of the weights in use: equal for equal numbers, wherever they came from.
    size : int or None
        The side, in pixels, of the square that images are resized to.
    """

    name: str
    model: keras.Model = field(repr=False)
    sizes: dict[str, int]
    weights: str
    source: str
    digest: str
    size: int | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages, from first to last."""
        return tuple(self.sizes)


@dataclass(frozen=True)
class _Network:
    """What differs from network to network; another network is another entry of `_NETWORKS`."""

    constructor: Callable  # of keras.applications, or one that takes the same arguments
    title: str
    size: int  # pixels of the images that it was trained on
    least: int  # pixels
    stages: Callable[[keras.Model], dict]
    file: str | None = None  # ImageNet weights without the classifier, as Keras names them, where there are any
    md5: str | None = None
    folder: str | None = None  # at Keras' address
    scale: tuple[float, float, float] = (2.0, 2.0, 2.0)  # [0, 1] to [-1, 1]
    offset: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    blue_first: bool = False


_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"


def _inception_v3_stages(network: keras.Model) -> dict:
    """Return the four pooling stages of the layer-probing paper, whose sizes at 299 pixels are its own.

    The network has four layers of maximum pooling, and the paper's second stage is the *third* of them: the
    pool branch inside the first grid reduction (17 x 17 x 288 = 83,232), not the second pooling layer of the
    stem (35 x 35 x 192 = 235,200). Layers are told apart by type and order: Keras counts their names on from
    network to network.
    """
    pools = [layer.output for layer in network.layers if isinstance(layer, layers.MaxPooling2D)]
    taps = {f"pool {stage}": layers.Flatten()(pools[position]) for stage, position in ((1, 0), (2, 2), (3, 3))}
    return {**taps, "pool 4": layers.GlobalAveragePooling2D(name="avg_pool")(network.output)}


def _means(maps: dict, network: keras.Model) -> dict:
    """Return the mean of each map over its pixels, and of the network's last one what Keras calls `avg_pool`."""
    pool = layers.GlobalAveragePooling2D
    taps = {stage: pool(name=f"mean_of_{stage.replace(' ', '_')}")(tensor) for stage, tensor in maps.items()}
    return {**taps, "penultimate": pool(name="avg_pool")(network.output)}


def _resnet50_stages(network: keras.Model) -> dict:
    """Return the ends of conv2_x to conv5_x, as the paper calls them, after their ReLU."""
    ends = {"stage 2": "conv2_block3_out", "stage 3": "conv3_block4_out", "stage 4": "conv4_block6_out"}
    return _means({stage: network.get_layer(name).output for stage, name in ends.items()}, network)


def _inception_resnet_v2_stages(network: keras.Model) -> dict:
    """Return the ends of the paper's chains of blocks A, B and C; the end of C is a sum without a ReLU.

    Keras counts the name of that sum on from network to network: it is told by the layer that takes it.
    """
    ends = {
        "blocks A": network.get_layer("block35_10_ac").output,
        "blocks B": network.get_layer("block17_20_ac").output,
        "blocks C": network.get_layer("conv_7b").input,
    }
    return _means(ends, network)


def _xception_stages(network: keras.Model) -> dict:
    """Return the ends of the paper's entry and middle flow, and the sum in the middle of its exit flow.

    All three are sums without a ReLU, whose names Keras counts on: each is told by the layer that takes it.
    """
    takers = {
        "entry flow": "block5_sepconv1_act",
        "middle flow": "block13_sepconv1_act",
        "block 13": "block14_sepconv1",
    }
    return _means({stage: network.get_layer(name).input for stage, name in takers.items()}, network)


def _resnet18_half(include_top, weights, input_tensor, input_shape) -> keras.Model:
    """Build ResNet-18 at half its width (32 to 256 channels), with a stem of two small convolutions.

    The paper's stem, a convolution of 7 x 7 and a maximum, is made for 224 pixels. Here two convolutions of 3 x 3 and
    stride 2 shrink the image by the same factor and keep more of the thin lines of a small one.
    """
    tensor = _convolved(input_tensor, 16, "conv1_a", strides=2)
    tensor = _convolved(tensor, 32, "conv1_b", strides=2)
    for stage, channels in enumerate((32, 64, 128, 256), start=2):
        for block in (1, 2):
            strides = 2 if block == 1 and stage > 2 else 1
            tensor = _basic_block(tensor, channels, f"conv{stage}_block{block}", strides)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), tensor, name="resnet18_half")


def _basic_block(tensor, channels: int, name: str, strides: int):
    """Add two convolutions to what they start from, which is convolved by 1 x 1 where the shape changes."""
    shortcut = tensor
    if strides > 1:
        shortcut = _convolved(tensor, channels, f"{name}_0", strides, kernel=1, activated=False)
    inner = _convolved(tensor, channels, f"{name}_1", strides)
    inner = _convolved(inner, channels, f"{name}_2", activated=False)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, inner]))


def _convolved(tensor, channels: int, name: str, strides: int = 1, kernel: int = 3, activated: bool = True):
    convolution = layers.Conv2D(channels, kernel, strides, padding="same", use_bias=False, name=f"{name}_conv")
    tensor = layers.BatchNormalization(name=f"{name}_bn")(convolution(tensor))
    return layers.ReLU(name=f"{name}_relu")(tensor) if activated else tensor


def _resnet18_half_stages(network: keras.Model) -> dict:
    """Return the ends of conv2_x to conv5_x, as the paper calls them, after their ReLU."""
    return _means(
        {f"stage {stage}": network.get_layer(f"conv{stage}_block2_out").output for stage in (2, 3, 4)}, network
    )


_NETWORKS = {
    "inception_v3": _Network(
        keras.applications.InceptionV3,
        title="Inception-v3",
        file="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="bcbd6486424b2319ff4ef7d526e38f63",
        folder="inception_v3",
        size=299,
        least=75,
        stages=_inception_v3_stages,
    ),
    "resnet50": _Network(
        keras.applications.ResNet50,
        title="ResNet50",
        file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="4d473c1dd8becc155b73f8504c6f6626",
        folder="resnet",
        size=224,
        least=32,
        stages=_resnet50_stages,
        scale=(255.0, 255.0, 255.0),
        offset=(-123.68, -116.779, -103.939),  # the mean colour of ImageNet is taken away
        blue_first=True,
    ),
    "inception_resnet_v2": _Network(
        keras.applications.InceptionResNetV2,
        title="Inception-ResNet-v2",
        file="inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="d19885ff4a710c122648d3b5c3b684e4",
        folder="inception_resnet_v2",
        size=299,
        least=75,
        stages=_inception_resnet_v2_stages,
    ),
    "xception": _Network(
        keras.applications.Xception,
        title="Xception",
        file="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="b0042744bf5b25fce3cb969f33bebb97",
        folder="xception",
        size=299,
        least=71,
        stages=_xception_stages,
    ),
    "resnet18_half": _Network(
        _resnet18_half,
        title="ResNet-18 of half width",
        size=96,
        least=32,
        stages=_resnet18_half_stages,
    ),
}


@keras.saving.register_keras_serializable(package="helpers")
class Preparation(layers.Layer):
    """Images in [0, 1] of any size, grey or in colour, as a pretrained network expects them.

    Resized bilinearly, with antialiasing where they shrink, to `size` x `size` pixels (the shape of the image is
    not kept: a square is what the network was trained on); grey repeated to three channels; then
    ``scale * value + offset`` for each channel, and the channels reversed where the network was trained on
    blue, green, red.

    Parameters
    ----------
    size : int
        The side of the square, in pixels.
    scale, offset : sequence of three float
        Of red, green and blue.
    blue_first : bool
        Whether the network was trained on blue, green, red.
    """

    def __init__(self, size, scale, offset, blue_first=False, **options):
        super().__init__(**options)
        self.size, self.blue_first = size, blue_first
        self.scale, self.offset = tuple(scale), tuple(offset)

    def call(self, images):
        """Return images as the network expects them.

        Parameters
        ----------
        images : tensor of float, shape (n, h, w, 1) or (n, h, w, 3)
            In [0, 1].

        Returns
        -------
        tensor of float, shape (n, size, size, 3)
        """
        if tuple(images.shape[1:3]) != (self.size, self.size):  # to resize to the same size costs, and changes nothing
            images = keras.ops.image.resize(
                images, (self.size, self.size), interpolation="bilinear", antialias=True, data_format="channels_last"
            )
        # three factors against one channel: broadcasting repeats grey
        prepared = images * np.float32(self.scale) + np.float32(self.offset)
        return keras.ops.flip(prepared, axis=-1) if self.blue_first else prepared

    def compute_output_shape(self, shape):
        """Return the shape (n, size, size, 3) for images of `shape`, whatever their size and channels are."""
        return (shape[0], self.size, self.size, 3)

    def get_config(self):
        """Return the arguments that build this layer again, as Keras stores them with a model."""
        ours = {"size": self.size, "scale": self.scale, "offset": self.offset, "blue_first": self.blue_first}
        return {**super().get_config(), **ours}


def load(
    network: str = "inception_v3",
    weights: str = "auto",
    *,
    size: int | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
    download: bool = True,
) -> Backbone:
    """Build a deep network, find its weights, and print in one line which ones are used.

    With ``weights="auto"`` the first of these is taken:

    1. ImageNet weights in `folder`, else in the folder that ``COURSE_WEIGHTS`` names (which may be read-only);
    2. ImageNet weights in Keras' own cache, ``~/.keras/models``;
    3. a download into that cache;
    4. our own weights, made without natural images: in that same folder, in the package, in the repository;
    5. random weights.

    An ImageNet file has the name that Keras gives it (``inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5``)
    and is used only if its MD5 is the published one. No file of yours is ever deleted or overwritten.

    Parameters
    ----------
    network : {'inception_v3', 'resnet50', 'inception_resnet_v2', 'xception', 'resnet18_half'}
        Each comes with its own preprocessing. The stages of Inception-v3 are whole maps laid flat, but for the last
        one; those of the others are means over the pixels of a map, and the last one, ``"penultimate"``, is what a
        classifier would see (`avg_pool` in Keras: 2,048, 1,536, 2,048 and 256 features). The last network is the
        course's own: ResNet-18 at half its width, small enough to be pretrained on two cores. There are no
        ImageNet weights for it.
    weights : {'auto', 'imagenet', 'self_made', 'random'}
        Anything but ``'auto'`` is used or refused, never replaced by something else.
    size : int, optional
        The side, in pixels, of the square that images are resized to; without it the one that the network was
        trained on: 96 for the course's own, 224 for ResNet50 and 299 for the others. The least is 32 for these
        two, 71 for Xception and 75 for the Inceptions. Time shrinks with the square of it, and so do stages that
        are maps.
    seed : int
        Draws random weights: the same numbers on every back-end, whatever was drawn before.
    folder : path, optional
        Where to look first.
    download : bool
        Whether the network may be used.

    Returns
    -------
    Backbone

    Raises
    ------
    FileNotFoundError
        If `folder` does not exist, nor the folder that ``COURSE_WEIGHTS`` names where there is no `folder`, or the
        weights asked for are nowhere and `download` is False.
    ConnectionError
        If ImageNet weights are asked for, are nowhere on this machine, and cannot be downloaded.
    ValueError
        If a name is unknown, the size too small, the seed negative, one of them no whole number, or a file of
        weights in `folder` is damaged.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens and Wojna (2016), Rethinking the Inception architecture for computer vision,
    https://doi.org/10.1109/CVPR.2016.308

    He, Zhang, Ren and Sun (2016), Deep residual learning for image recognition,
    https://doi.org/10.1109/CVPR.2016.90

    Szegedy, Ioffe, Vanhoucke and Alemi (2017), Inception-v4, Inception-ResNet and the impact of residual connections
    on learning, https://doi.org/10.1609/aaai.v31i1.11231

    Chollet (2017), Xception: Deep learning with depthwise separable convolutions,
    https://doi.org/10.1109/CVPR.2017.195

    Examples
    --------
    >>> backbone = load(weights="random", size=75)
    inception_v3, 75 x 75 pixels: random weights (seed 0)
    >>> backbone.sizes
    {'pool 1': 18496, 'pool 2': 2592, 'pool 3': 768, 'pool 4': 2048}
    >>> load("resnet50", weights="random", size=32).sizes
    resnet50, 32 x 32 pixels: random weights (seed 0)
    {'stage 2': 256, 'stage 3': 512, 'stage 4': 1024, 'penultimate': 2048}
    """
    entry = _NETWORKS[check_choice(network, _NETWORKS, "network")]
    check_choice(weights, ("auto", *WEIGHTS), "kind of weights")
    size = check_whole(entry.size if size is None else size, "size", entry.least)
    check_whole(seed, "seed", 0)
    model, sizes = _build(network, entry, size)
    kind, source, missing = _fill(model, network, weights, _Search(_checked_folder(folder), download), seed)
    print("; ".join([f"{network}, {size} x {size} pixels: {source}", *missing]))
    return Backbone(network, model, sizes, kind, source, stored.digest(model), size)


def available(network: str = "inception_v3", *, folder: Path | str | None = None) -> tuple[str, ...]:
    """Return which weights can be had without a download, of ``'imagenet'``, ``'self_made'`` and ``'random'``.

    Parameters
    ----------
    network : {'inception_v3', 'resnet50', 'inception_resnet_v2', 'xception', 'resnet18_half'}
    folder : path, optional
        As for `load`.

    Returns
    -------
    tuple of str
        Best first.

    Raises
    ------
    FileNotFoundError
        If `folder` does not exist, nor the folder that ``COURSE_WEIGHTS`` names where there is no `folder`.
    ValueError
        If the network is unknown.

    Examples
    --------
    >>> "random" in available("inception_v3")
    True
    """
    entry = _NETWORKS[check_choice(network, _NETWORKS, "network")]
    search = _Search(_checked_folder(folder), download=False)
    places = [*search.user_folders(), runtime.keras_folder("models")]
    files = [place / entry.file for place in places] if entry.file else []
    imagenet = any(_md5(path) == entry.md5 for path in files if path.is_file())
    own = search.self_made(network) is not None
    return tuple(name for name, there in zip(WEIGHTS, (imagenet, own, True), strict=True) if there)


def published_files() -> dict[str, str]:
    """Return the MD5 of each file of ImageNet weights that `load` knows, by the name that Keras gives it."""
    return {entry.file: entry.md5 for entry in _NETWORKS.values() if entry.file}


def batch_normalizations(model: keras.Model) -> list:
    """Return a network's BatchNormalization layers, those of networks within it too."""
    found = []
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            found.append(layer)
        elif isinstance(layer, keras.Model):
            found += batch_normalizations(layer)
    return found


def measure_statistics(model: keras.Model, batches: Iterable) -> None:
    """Set the means and variances of BatchNormalization to their averages over batches of images.

    An image counts alike in every batch. Each batch is normalised by its own statistics on its way. Layers that are
    frozen are measured too, and are frozen again afterwards.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    batches : iterable of tensor, shape (n, h, w, c)
    """
    normalizations = batch_normalizations(model)
    before = [(layer.momentum, layer.trainable) for layer in normalizations]
    seen = 0
    try:
        for layer in normalizations:
            layer.trainable = True  # otherwise it would only look its statistics up
        for images in batches:
            for layer in normalizations:
                layer.momentum = seen / (seen + len(images))
            model(images, training=True)
            seen += len(images)
    finally:  # a run that is stopped by hand must not leave layers that learn
        for layer, (momentum, trainable) in zip(normalizations, before, strict=True):
            layer.momentum, layer.trainable = momentum, trainable


def small_encoder(shape: tuple[int, int, int], dimensions: int = 128, seed: int = 0) -> keras.Sequential:
    """Build the course's small convolutional encoder, untrained.

    Two convolutions of stride 2, then a linear layer: the chapter *convolutional-autoencoder* builds it layer
    by layer, and says why.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of the images.
    dimensions : int
        The number of features.
    seed : int
        Draws the weights; it seeds Keras', NumPy's and Python's generators.

    Returns
    -------
    keras.Sequential
        Maps images (n, h, w, c) to features (n, dimensions).

    Raises
    ------
    ValueError
        If `dimensions` is no whole number of 1 or more.
    """
    check_whole(dimensions, "dimensions", 1)
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            layers.Input(shape),  # (28, 28, 1)
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),  # (14, 14, 8)
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),  # (7, 7, 16)
            layers.Flatten(),  # (784,)
            layers.Dense(dimensions),  # (dimensions,)
        ],
        name="small_encoder",
    )


def pooled_encoder(shape: tuple[int, int, int], dimensions: int = 128, seed: int = 0) -> keras.Sequential:
    """Build a small convolutional encoder that keeps what was found and gives up where, untrained.

    Three convolutions with batch normalisation; of each channel only the maximum over all places goes on to the
    linear layer. The chapter *contrasting-pairs* builds it layer by layer.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of the images.
    dimensions : int
        The number of features.
    seed : int
        Draws the weights; it seeds Keras', NumPy's and Python's generators.

    Returns
    -------
    keras.Sequential
        Maps images (n, h, w, c) to features (n, dimensions).

    Raises
    ------
    ValueError
        If `dimensions` is no whole number of 1 or more.
    """
    check_whole(dimensions, "dimensions", 1)
    keras.utils.set_random_seed(seed)
    stages = [layers.Input(shape)]
    for channels, stride in ((16, 2), (32, 2), (64, 1)):
        stages += [
            layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    return keras.Sequential([*stages, layers.GlobalMaxPooling2D(), layers.Dense(dimensions)], name="pooled_encoder")


def small_decoder(
    shape: tuple[int, int, int], dimensions: int = 128, seed: int = 0, activation: str | None = None
) -> keras.Sequential:
    """Build the mirror of `small_encoder`, untrained: from features back to images.

    A dense layer, then two transposed convolutions of stride 2: the chapter *convolutional-autoencoder* builds it
    layer by layer, and says why. Its draws go on where those of the encoder of the same seed end: the two are the
    autoencoder of that chapter, number by number, and no layer of one starts as a copy of a layer of the other.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of the images. Height and width are doubled twice, so 4 divides both.
    dimensions : int
        The number of features.
    seed : int
        Draws the weights; it seeds Keras', NumPy's and Python's generators.
    activation : str, optional
        Of the last layer; without it the outputs may take any value (a linear output, or logits).

    Returns
    -------
    keras.Sequential
        Maps features (n, dimensions) to images (n, h, w, c).

    Raises
    ------
    ValueError
        If 4 does not divide height and width, or `dimensions` is no whole number of 1 or more.
    """
    height, width, channels = shape
    if height % 4 or width % 4:
        raise ValueError(
            f"The decoder doubles twice, so height and width are multiples of 4, but the shape is {tuple(shape)}: "
            f"pad the images."
        )
    small = (height // 4, width // 4, 16)
    double = {"strides": 2, "padding": "same"}
    small_encoder(shape, dimensions, seed)  # for its draws alone
    return keras.Sequential(
        [
            layers.Input((dimensions,)),  # (dimensions,)
            layers.Dense(prod(small), activation="relu"),  # (784,) for images of 28 x 28
            layers.Reshape(small),  # (7, 7, 16)
            layers.Conv2DTranspose(8, 3, activation="relu", **double),  # (14, 14, 8)
            layers.Conv2DTranspose(channels, 3, activation=activation, **double),  # (28, 28, 1)
        ],
        name="small_decoder",
    )


def _build(name: str, entry: _Network, size: int) -> tuple[keras.Model, dict[str, int]]:
    images = keras.Input((None, None, None), name="images")
    prepared = Preparation(size, entry.scale, entry.offset, entry.blue_first, name="preparation")(images)
    with keras.saving.custom_object_scope({"glorot_uniform": _Undrawn}):
        network = entry.constructor(include_top=False, weights=None, input_tensor=prepared, input_shape=(size, size, 3))
    _forget_undrawn(network)
    stages = entry.stages(network)
    sizes = {stage: prod(tensor.shape[1:]) for stage, tensor in stages.items()}
    return keras.Model(images, list(stages.values()), name=name), sizes


class _Undrawn(keras.initializers.GlorotUniform):
    """Zeros, where numbers are put in later: JAX would compile its generator for each of some fifty shapes."""

    def __call__(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(np.zeros(shape, dtype or keras.config.floatx()))


def _forget_undrawn(network: keras.Model) -> None:
    """Give the layers Keras' own initialisers back, so that a clone of the network draws its weights."""
    for layer in network.layers:
        for name in [name for name, value in vars(layer).items() if isinstance(value, _Undrawn)]:
            setattr(layer, name, keras.initializers.GlorotUniform())


def _fill(model: keras.Model, network: str, wanted: str, search: _Search, seed: int) -> tuple[str, str, list]:
    """Load the weights that are wanted; return their kind, a sentence about them, and why no better ones."""
    entry, missing = _NETWORKS[network], []
    if wanted in ("auto", "imagenet"):
        try:
            path = search.imagenet(entry)
            model.load_weights(path)
            return "imagenet", f"ImageNet weights ({path.name}, MD5 {entry.md5[:8]}...)", missing
        except _NotHad as error:
            if wanted == "imagenet":
                raise error.reason from error
            missing.append(f"ImageNet weights: {error}")
    if wanted in ("auto", "self_made"):
        place = search.self_made(network)
        if place is not None:
            return "self_made", _self_made_sentence(stored.restore(model, place)), missing
        if wanted == "self_made":
            raise FileNotFoundError(
                f"There are no weights of our own for {entry.title}: put the folder {network} with its manifest.json "
                f"into a folder that COURSE_WEIGHTS names, or use weights='random'."
            )
        missing.append("weights of our own: none here")
    _draw(model, seed)
    return "random", f"random weights (seed {seed})", missing


def _self_made_sentence(about: dict) -> str:
    objective = about.get("objective")
    return f"weights of our own, made without natural images{f' ({objective})' if objective else ''}"


def _draw(model: keras.Model, seed: int) -> None:
    """Draw every kernel anew, uniform between the limits of Glorot and Bengio (2010), as Keras does by default.

    By NumPy and not by Keras' initialisers, so that every back-end gets the same numbers. Biases and the
    statistics of BatchNormalization stay as they were built, 0 and 1.
    """
    generator = np.random.default_rng(seed)
    model.set_weights([_glorot(value, generator) if value.ndim > 1 else value for value in model.get_weights()])


def _glorot(kernel: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    inputs, outputs = (prod(kernel.shape[:-2]) * channels for channels in kernel.shape[-2:])
    limit = np.float32(np.sqrt(6 / (inputs + outputs)))
    return (2 * generator.random(kernel.shape, dtype=np.float32) - 1) * limit


class _NotHad(Exception):
    """ImageNet weights cannot be had; `reason` is what to raise where nothing else will do."""

    def __init__(self, short: str, reason: Exception):
        super().__init__(short)
        self.reason = reason


@dataclass(frozen=True)
class _Search:
    """Where to look for weights."""

    folder: Path | None
    download: bool

    def user_folders(self) -> list[Path]:
        return [] if self.folder is None else [self.folder]

    def imagenet(self, entry: _Network) -> Path:
        """Return a file of ImageNet weights whose MD5 is right."""
        if entry.file is None:
            raise _NotHad(
                "there are none for this network",
                ValueError(f"There are no ImageNet weights of {entry.title}: use weights='auto'."),
            )
        for path in (place / entry.file for place in self.user_folders()):
            if path.is_file():
                if _md5(path) != entry.md5:
                    raise ValueError(f"{_damaged(path, entry)}: replace it, or remove it from the folder.")
                return path
        cached = runtime.keras_folder("models") / entry.file
        if not cached.is_file():
            return _download(entry, cached) if self.download else _give_up(entry, "not on this machine")
        if _md5(cached) != entry.md5:
            raise _NotHad(
                f"{cached} has a wrong MD5 and was left alone",
                ValueError(f"{_damaged(cached, entry)}: delete it, so that it can be downloaded again."),
            )
        return cached

    def self_made(self, network: str) -> Path | None:
        """Return the first folder of our own weights for this network."""
        here = Path(__file__).parent
        places = [*self.user_folders(), here / "pretrained", here.parent / "data" / "weights"]
        return next((place / network for place in places if (place / network / "manifest.json").is_file()), None)


def _checked_folder(folder: Path | str | None) -> Path | None:
    """Return the folder of the user's weights, given or named by the environment, or None where there is neither."""
    if folder is not None:
        folder = Path(folder).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}: give a folder that holds weights.")
        return folder
    folder = runtime.weights_folder()
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(
            f"COURSE_WEIGHTS names {folder}, but there is no such folder: correct the variable, or unset it."
        )
    return folder


def _damaged(path: Path, entry: _Network) -> str:
    return f"{path} is not the file of {entry.title} that Keras publishes (its MD5 is not {entry.md5})"


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _give_up(entry: _Network, why: str, error: type[Exception] = FileNotFoundError):
    raise _NotHad(
        why,
        error(
            f"The ImageNet weights of {entry.title} are {why}: connect to the network, set COURSE_WEIGHTS to a folder "
            f"that holds {entry.file}, or use weights='auto'."
        ),
    )


def _download(entry: _Network, path: Path) -> Path:
    """Fetch the file beside its place, check it, and only then put it there.

    Not by `keras.utils.get_file`, which waits for ever on a dead line, and overwrites or deletes what was there.
    """
    try:
        with urllib.request.urlopen(f"{_ADDRESS}/{entry.folder}/{entry.file}", timeout=10) as response:
            runtime.replace_file(path, lambda stream: _copy(response, stream, entry))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        _give_up(entry, f"not on this machine and could not be downloaded ({reason})", ConnectionError)
    return path


def _copy(response, stream, entry: _Network) -> None:
    """Copy what arrives, and refuse it if its MD5 is wrong."""
    length = int(response.headers.get("Content-Length") or 0) or None
    received = hashlib.md5(usedforsecurity=False)
    with tqdm(total=length, desc=entry.title, unit="B", unit_scale=True, leave=False) as bar:
        while block := response.read(2**20):
            stream.write(block)
            received.update(block)
            bar.update(len(block))
    if received.hexdigest() != entry.md5:
        raise ValueError("what arrived has a wrong MD5")
