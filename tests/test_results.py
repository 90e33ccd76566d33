import json

import numpy as np
import pytest

from helpers import results
from helpers.results import Claim, Curve, Record


@pytest.fixture
def record():
    arrays = {
        "labels": np.array([0, 1]),
        "clusters": np.array([1, 1]),
        "thumbnails": np.zeros((2, 4, 4, 1), np.uint8),
        "PCA": np.ones((2, 2), np.float32),
    }
    return Record(
        "my-chapter",
        "autoencoder, 32",
        "method",
        "digits",
        32,
        [0, 1],
        {"knn": [0.5, 0.7]},
        maps={"PCA": {"trustworthiness": 0.9}},
        about={"row": 3},
        class_names=["a", "b"],
        arrays=arrays,
    )


def test_a_record_comes_back_as_it_was(record, tmp_path):
    results.save(record, tmp_path)
    (found,) = results.load(tmp_path)
    assert found == record
    for name, array in record.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert np.array_equal(found.arrays[name], array)


def test_mean_and_spread_are_over_seeds(record):
    assert record.mean("knn") == pytest.approx(0.6)
    assert record.spread("knn") == pytest.approx(np.std([0.5, 0.7], ddof=1))


def test_the_same_row_of_two_data_sets_stands_twice(record, tmp_path):
    results.save(record, tmp_path)
    results.save(Record(**vars(record) | {"data": "shifted-digits"}), tmp_path)
    assert [found.data for found in results.load(tmp_path)] == ["digits", "shifted-digits"]


def test_rows_come_in_the_order_of_the_scorecard(record, tmp_path):
    for row, method in ((2, "a"), (0, "c"), (1, "b")):
        results.save(Record(**vars(record) | {"method": method, "about": {"row": row}}), tmp_path)
    assert [found.method for found in results.load(tmp_path)] == ["c", "b", "a"]


def test_claims_come_back_in_their_order_and_are_no_records(record, tmp_path):
    claims = [
        Claim("my-chapter", "digits", "It is better.", [0.1, 0.2, 0.3], least=0.05),
        Claim("my-chapter", "digits", "And never by much.", [0.1, 0.2, 0.3], most=1.0),
    ]
    results.save(record, tmp_path)
    results.save_claims(claims, tmp_path)
    assert results.load_claims(tmp_path) == claims
    assert results.load(tmp_path) == [record]


def test_claims_about_two_data_sets_stand_side_by_side(tmp_path):
    for data in ("digits", "shapes"):
        results.save_claims([Claim("my-chapter", data, "It is better.", [0.1], least=0.0)], tmp_path)
    assert [claim.data for claim in results.load_claims(tmp_path)] == ["digits", "shapes"]


@pytest.mark.parametrize("text", ["[1]", "null", '[{"chapter": "a"}]', '[{"a": 1}]', '{"a": 1}', "[{"])
def test_a_damaged_file_of_claims_is_named(tmp_path, text):
    path = results.save_claims([Claim("my-chapter", "digits", "It is better.", [0.1], least=0.0)], tmp_path)
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path.name}.*delete it and run its chapter again"):
        results.load_claims(tmp_path)


def curve(**changed):
    fields = {"chapter": "my-chapter", "data": "digits", "features": "pixels", "method": "kNN"}
    return Curve(**fields | {"per_class": [1, 10], "accuracy": [[0.1, 0.2], [0.3, 0.4]]} | changed)


def test_curves_come_back_in_their_order_and_are_no_records(record, tmp_path):
    curves = [curve(), curve(features="code")]
    results.save(record, tmp_path)
    results.save_curves(curves, tmp_path)
    assert results.load_curves(tmp_path) == curves
    assert results.load(tmp_path) == results.load_readable(tmp_path)[0] == [record]
    assert results.load_claims(tmp_path) == []


@pytest.mark.parametrize("text", ["null", '[{"chapter": "a"}]', "[{"])
def test_a_damaged_file_of_curves_is_named(tmp_path, text):
    path = results.save_curves([curve()], tmp_path)
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path.name}.*delete it and run its chapter again"):
        results.load_curves(tmp_path)


@pytest.mark.parametrize(
    "other",
    [{"data": "shapes"}, {"per_class": [1, 20]}, {"accuracy": [[0.1], [0.3]]}, {"accuracy": [[0.1, 0.2]]}],
)
def test_curves_that_cannot_be_compared_share_no_file(tmp_path, other):
    with pytest.raises(ValueError, match=r"give one curve or more of it\.|compute them alike\."):
        results.save_curves([curve(), curve(**other)], tmp_path)
    assert results.load_curves(tmp_path) == []


def test_claims_of_several_chapters_or_none_share_no_file(tmp_path):
    claims = [Claim(chapter, "digits", "It is better.", [0.1], least=0.0) for chapter in ("one", "other")]
    for wrong in (claims, []):
        with pytest.raises(ValueError, match="one chapter about one data set"):
            results.save_claims(wrong, tmp_path)


@pytest.mark.parametrize(
    ("values", "least", "most", "holds"),
    [
        ([], 0.0, None, False),
        ([0.1, 0.2], 0.1, None, True),
        ([0.1, 0.2], 0.11, None, False),
        ([-0.1, 0.2], None, 0.2, True),
        ([-0.1, 0.2], None, 0.19, False),
        ([-0.1, 0.1], -0.1, 0.1, True),
        ([-0.1, 0.1], -0.05, 0.1, False),
    ],
)
def test_a_claim_holds_if_every_seed_lies_in_its_band(values, least, most, holds):
    assert Claim("c", "d", "s", values, least, most).holds is holds


def test_an_empty_store_has_no_records(tmp_path):
    assert results.load(tmp_path / "nowhere") == []
    assert results.load_claims(tmp_path / "nowhere") == []
    assert results.load_runs(tmp_path / "nowhere") == {}


def test_a_run_stands_beside_the_records(record, tmp_path):
    results.save(record, tmp_path)
    results.save_run("my-chapter", {"seconds": 1.5}, tmp_path)
    assert results.load_runs(tmp_path) == {"my-chapter": {"seconds": 1.5}}
    assert len(results.load(tmp_path)) == 1


@pytest.mark.parametrize("ending", [".json", ".npz"])
@pytest.mark.parametrize("keep", [0, 40])
def test_a_file_cut_short_is_named(record, tmp_path, ending, keep):
    path = results.save(record, tmp_path).with_suffix(ending)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"digits-autoencoder-32.*damaged.*delete"):
        results.load(tmp_path)


def test_an_archive_with_a_changed_byte_is_named_wherever_it_changed(record, tmp_path):
    path = results.save(record, tmp_path).with_suffix(".npz")
    whole, named = path.read_bytes(), 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        found, complaints = results.load_readable(tmp_path)
        named += len(complaints)
        assert len(found) + len(complaints) == 1
    assert named > 10


def test_a_row_that_cannot_be_written_leaves_the_earlier_one_whole(record, tmp_path):
    results.save(record, tmp_path)
    changed = vars(record) | {"measures": {"knn": [0.1, float("nan")]}, "arrays": {"labels": np.array([1, 0])}}
    with pytest.raises(ValueError, match="JSON compliant"):
        results.save(Record(**changed), tmp_path)
    (kept,) = results.load(tmp_path)
    assert kept.arrays["labels"].tolist() == [0, 1]
    assert kept.measures == record.measures


@pytest.mark.parametrize("changed", [{"data": "图片"}, {"method": "метод"}])
def test_a_name_without_a_latin_letter_is_refused_rather_than_written_over(record, tmp_path, changed):
    with pytest.raises(ValueError, match=r"letter|name"):
        results.save(Record(**vars(record) | changed), tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_a_missing_archive_is_named(record, tmp_path):
    results.save(record, tmp_path).with_suffix(".npz").unlink()
    with pytest.raises(ValueError, match="damaged or incomplete"):
        results.load(tmp_path)


def test_pages_read_what_is_whole_and_are_told_what_is_not(record, tmp_path):
    other = Record(**vars(record) | {"method": "broken"})
    results.save(record, tmp_path)
    path = results.save(other, tmp_path)
    assert results.load_readable(tmp_path)[1] == []
    path.with_suffix(".npz").unlink()
    found, complaints = results.load_readable(tmp_path)
    assert [each.method for each in found] == [record.method]
    (complaint,) = complaints
    assert f"{path.stem} of the chapter {record.chapter} is damaged or incomplete" in complaint
    assert str(tmp_path) not in complaint  # a page tells nothing of the machine that made it


def test_an_archive_with_pickled_objects_is_refused(record, tmp_path):
    path = results.save(record, tmp_path)
    np.savez(path.with_suffix(".npz"), labels=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="damaged or incomplete"):
        results.load(tmp_path)


def test_a_result_that_cannot_be_written_leaves_the_old_one(record, tmp_path):
    path = results.save(record, tmp_path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.save(Record(**vars(record) | {"measures": {"knn": [float("nan")]}}), tmp_path)
    with pytest.raises(TypeError):
        results.save(Record(**vars(record) | {"about": {"row": object()}}), tmp_path)
    assert json.loads(path.read_text()) == json.loads(before[path.name])
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(before)


def test_an_unwritable_folder_says_what_to_set(record, tmp_path):
    occupied = tmp_path / "results"
    occupied.write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"cannot be written to .*set COURSE_RESULTS"):
        results.save(record, occupied)
    assert occupied.read_text() == "a file where the folder should be"
