"""Contact sheets: the pictures on the page about data are the first images of each class."""

from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from helpers import datasets

EXTENSIONS = Path(__file__).resolve().parents[1] / "book" / "_ext"


@pytest.fixture
def sheets(monkeypatch):
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    from course_site import sheets

    return sheets


@pytest.fixture
def shapes():
    return datasets.load("shapes", per_class=3, size=20)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("name", "options"),
    [("shapes", {"per_class": 3}), ("paintings", {"per_class": 3}), ("blood-cells", {"part": "test"})],
)
def test_a_strip_holds_the_first_images_of_its_class_and_clear_gaps(sheets, tmp_path, name, options):
    image_set = datasets.load(name, size=20, **options)
    strips = sheets.write_strips(image_set, 2, tmp_path)
    assert tuple(strips) == image_set.class_names
    for label, (path, width, height) in enumerate(strips.values()):
        pixels = pixels_of(tmp_path / path)
        assert pixels.shape[:2] == (height, width) == (20, 44)
        assert (pixels[:, 20:24, -1] == 0).all()
        for place, left in enumerate((0, 24)):
            image = image_set.images[image_set.labels == label][place]
            assert np.array_equal(pixels[:, left : left + 20, :-1], np.rint(image * 255))
            assert (pixels[:, left : left + 20, -1] == 255).all()


def test_small_images_are_enlarged_pixel_by_pixel(sheets, shapes, tmp_path):
    plain, large = (
        {name: pixels_of(tmp_path / path) for name, (path, _, _) in sheets.write_strips(shapes, 1, tmp_path, n).items()}
        for n in (1, 3)
    )
    for name in shapes.class_names:
        assert np.array_equal(large[name][1::3, 1::3], plain[name])


def test_every_picture_is_named_described_and_of_known_size(sheets, shapes, tmp_path):
    html = sheets.sheet_html(shapes, 3, tmp_path, "../")
    figures = BeautifulSoup(html, "html.parser").select(".course-sheet > figure")
    assert [figure.figcaption.text for figure in figures] == list(shapes.class_names)
    for figure, name in zip(figures, shapes.class_names, strict=True):
        assert figure.img["alt"] == f"3 images of the class {name} in the set shapes"
        assert figure.img["src"].startswith("../")
        pixels = pixels_of(tmp_path / figure.img["src"].removeprefix("../"))
        assert pixels.shape[:2] == (int(figure.img["height"]), int(figure.img["width"]))


def test_names_are_escaped(sheets, tmp_path):
    image_set = datasets.ImageSet(np.zeros((1, 4, 4, 1)), [0], ('<"A&B">',), "s", "here", "none")
    figure = BeautifulSoup(sheets.sheet_html(image_set, 1, tmp_path, ""), "html.parser").figure
    assert figure.figcaption.text == '<"A&B">'
    assert '<"A&B">' in figure.img["alt"]
