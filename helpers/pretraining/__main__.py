"""Pretrain a network on images made by formulas: ``python -m helpers.pretraining --help``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from .images import categories
from .pool import fill

# those of `backbones` and `objectives`, which import Keras: `--help` and the processes that render need none of it
NETWORKS = ("inception_v3", "resnet50", "inception_resnet_v2", "xception", "resnet18_half")
OBJECTIVES = ("formulas", "views", "formulas-and-views")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m helpers.pretraining", description="Pretrain a network on images made by formulas."
    )
    parser.add_argument("--network", default="resnet18_half", choices=NETWORKS)
    parser.add_argument(
        "--objective",
        default="formulas-and-views",
        choices=OBJECTIVES,
        help="name the formula of an image, find its other view, or find views and images of the same formula",
    )
    parser.add_argument("--resume", type=Path, metavar="DIR", help="train; DIR keeps the pool, state and weights")
    parser.add_argument("--minutes", type=float, default=60, help="of the whole training, however often it is resumed")
    parser.add_argument("--piece", type=float, metavar="MINUTES", help="of this call; the next one goes on")
    parser.add_argument(
        "--size", type=int, default=96, help="pixels of what the network sees (at 107 inception_v3 ends with 2 x 2)"
    )
    parser.add_argument("--batch", type=int, default=128, help="images of a step, each with all its views")
    parser.add_argument("--peak", type=float, default=2e-3, help="largest learning rate")
    parser.add_argument("--categories", type=int, default=560)
    parser.add_argument("--images", type=int, default=84, help="rendered per category")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="where the weights go when training ends (by default DIR/export)"
    )
    parser.add_argument("--dtype", default="int8", choices=("int8", "float16"), help="of the exported kernels")
    parser.add_argument(
        "--evaluate", type=Path, metavar="DIR", help="compare the weights exported to DIR with random ones"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="where --evaluate writes what it found, for the model card"
    )
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="NAME=FOLDER[=REGEX]",
        help="another set for --evaluate; REGEX finds what the files of one original share",
    )
    return parser


def train(options) -> bool:
    """Train, or go on training, and export the weights once they are done; return whether they are."""
    folder = options.resume
    target = options.export or folder / "export"
    done = target / options.network
    if (done / "manifest.json").is_file():
        say(f"{done} holds finished weights: delete that folder to train on, or give another --resume.")
        return True
    side = round(1.2 * options.size)  # leaves room for shifts and zoom
    import keras

    from .. import backbones
    from ..runtime import device
    from . import evaluation, objectives  # noqa: F401  nothing that the last minute needs may turn out to be missing
    from .training import Recipe, Trainer

    if device().startswith("GPU"):
        keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(options.seed)
    backbone = backbones.load(options.network, "random", size=options.size, seed=options.seed)
    pool = fill(folder / "pool.npy", options.categories, options.images, side, options.seed, options.workers)
    recipe = Recipe(
        60 * options.minutes, options.objective, options.size, options.batch, options.peak, seed=options.seed
    )
    mirrored = [category.mirrored for category in categories(options.categories, options.seed)]
    model = objectives.network_with_heads(backbone, objectives.OBJECTIVES[options.objective], options.categories)
    trainer = Trainer(model, pool, mirrored, recipe, folder, report=say)
    if trainer.restore():
        say(f"Goes on after {trainer.progress.seconds:.0f} s, step {trainer.progress.step}.")
    if not trainer.run(seconds=None if options.piece is None else 60 * options.piece):
        say("Stopped with a checkpoint; the same command goes on.")
        return False
    trainer.finish()
    backbone.model.save_weights(folder / f"{options.network}.weights.h5")
    # what rounding costs, and what --evaluate finds in the same call, is measured in single precision
    keras.config.set_dtype_policy("float32")
    single = backbones.load(options.network, "random", size=options.size, seed=options.seed)
    single.model.set_weights(backbone.model.get_weights())
    export(single, trainer, target, options.dtype)
    return True


def export(backbone, trainer, folder: Path, dtype: str) -> None:
    """Write the weights with their training card, which says what their rounding costs."""
    from .. import backbones, weights
    from ..runtime import device, versions
    from .evaluation import relative_errors

    images = trainer.progress.step * trainer.recipe.batch_size
    categories_seen, per_category = trainer.pool.shape[:2]
    card = {
        "objective": trainer.objective.sentence.format(categories=categories_seen),
        "images seen": images,
        "images rendered": categories_seen * per_category,
        "steps": trainer.progress.step,
        "seconds": round(trainer.progress.seconds),
        "device": device(),
        "versions": versions(),
        "recipe": asdict(trainer.recipe),
    }
    with tempfile.TemporaryDirectory() as name:
        trial = Path(name)
        weights.export(backbone.model, trial / backbone.name, dtype=dtype, about=card)
        stored = backbones.load(backbone.name, "self_made", size=backbone.size, folder=trial)
        sample = trainer.batch(trainer.progress.step)[0]
        errors = relative_errors(stored.model, backbone.model, sample, backbone.stages)
    card["rounding error"] = errors
    manifest = weights.export(backbone.model, folder / backbone.name, dtype=dtype, about=card)
    megabytes = sum(path.stat().st_size for path in manifest.parent.iterdir()) / 2**20
    said = ", ".join(f"{stage} {error:.2%}" for stage, error in errors.items())
    say(f"Exported {megabytes:.1f} MiB to {manifest.parent}; {dtype} changes the features by {said}.")


def say(line: str) -> None:
    print(line, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = arguments()
    options = parser.parse_args(argv)
    if options.resume is None and options.evaluate is None:
        parser.error("give --resume DIR to train, or --evaluate DIR to compare")
    try:
        if options.resume is not None:
            train(options)
        if options.evaluate is not None:
            from .evaluation import record, table

            found = record(options.network, options.evaluate, options.record, others=options.sets, size=options.size)
            say(table(found))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
