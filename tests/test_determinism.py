"""The same commit gives the same scorecard twice on the CPU."""

import os
import subprocess
import sys

SCRIPT = """
import sys
import keras
from keras import layers
from helpers import backbones, datasets, runtime
from helpers.scorecard import Scorecard

run = runtime.start(seed=0)
train, _, test = datasets.load("shifted-digits").split()
encoder = backbones.small_encoder(train.shape, 16, seed=0)
decoder = keras.Sequential([layers.Input((16,)), layers.Dense(784), layers.Reshape(train.shape)])
autoencoder = keras.Sequential([encoder, decoder])
autoencoder.compile("adam", "mse")
autoencoder.fit(train.images, train.images, batch_size=64, epochs=1, verbose=0)
card = Scorecard("twice", train, test, run, permutations=49)
card.add_baselines(16, untrained=lambda seed: backbones.small_encoder(train.shape, 16, seed))
card.add("autoencoder", lambda seed: card.encode(encoder), model=encoder)
card.save(sys.argv[1])
"""


def test_two_runs_give_the_same_scorecard_and_maps(tmp_path):
    for name in ("first", "second"):
        environment = os.environ | {"COURSE_PROFILE": "quick"}
        subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / name], env=environment, check=True, timeout=300)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "twice").iterdir()} for name in ("first", "second")
    )
    assert first.keys() == second.keys()
    assert len(first) == 8
    assert [name for name in first if first[name] != second[name]] == []
