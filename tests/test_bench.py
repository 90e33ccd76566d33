"""The bench itself: turns, medians, scaling, memory, absences, targets. No test here looks at a speed."""

import json
import math
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from bench import __main__ as command
from bench import report, suites
from bench.__main__ import main
from bench.record import record
from bench.runner import Absent, Contender, Suite, compare, counts_to_run, is_rough, project

from helpers import results

# Contenders that say what is done to them


def diarist(name: str, diary: str):
    """Write each run down; other processes import it by name."""

    def prepare(case, folder):
        assert (folder / "data").read_text() == str(case["n"])

        def run(count):
            with open(diary, "a") as file:
                print(name, case["n"], count, file=file)
            return count

        return run

    return prepare


def sleeper(seconds: float):
    return lambda case, folder: lambda count: time.sleep(seconds)


def waking(seconds: float):
    """Be slow once, in the first run after data were prepared."""

    def prepare(case, folder):
        waits = iter([seconds])
        return lambda count: time.sleep(next(waits, 0.0))

    return prepare


def hoarder(mebibytes: int):
    """Hold memory while it is prepared, and as much again while it runs."""

    def prepare(case, folder):
        held = np.ones(mebibytes * 2**17)
        return lambda count: np.ones(mebibytes * 2**17).sum() + held.sum()

    return prepare


def missing():
    raise Absent("it is on holiday")


def not_installed():
    import a_package_that_nobody_has  # noqa: F401


def broken():
    def run(count):
        raise ValueError("wrong sign")

    return lambda case, folder: run


def dying():
    return lambda case, folder: lambda count: sys.exit(3)


def write_size(case, folder):
    (folder / "data").write_text(str(case["n"]))


def double(case, folder, output):
    return {"doubled": 2 * output}


def keep_delta(case, folder, output):
    return {"delta": output}


def note_case(case, rows):
    for row in rows:
        row["measures"]["n"] = case["n"]


def suite(*contenders, **changes):
    made = Suite(
        name="test",
        title="A test",
        unit="steps",
        contenders=contenders,
        cases=({"n": 1}, {"n": 2}),
        tiny={"n": 0},
        amounts=lambda case: (10, 100),
        make=write_size,
        measure=note_case,
    )
    return replace(made, **changes)


@pytest.fixture
def diary(tmp_path):
    return tmp_path / "diary.txt"


def entries(diary, case: int) -> list[str]:
    return [line for line in diary.read_text().splitlines() if line.split()[1] == str(case)]


def test_contenders_take_turns_in_every_round(diary):
    one, other = (Contender(name, diarist, {"name": name, "diary": str(diary)}) for name in "ab")
    compare(suite(one, other), rounds=3)
    assert entries(diary, 2) == ["a 2 1", "a 2 10", "a 2 100", "b 2 1", "b 2 10", "b 2 100"] * 3


def test_the_start_of_a_turn_is_not_timed_as_part_of_its_least_amount():
    rows = compare(suite(Contender("a", waking, {"seconds": 0.2})), rounds=2)
    assert all(seconds < 0.2 for row in rows for seconds in row["seconds"])


def test_a_single_amount_is_run_once_in_a_turn(diary):
    one = Contender("a", diarist, {"name": "a", "diary": str(diary)})
    compare(suite(one, amounts=lambda case: (10,)), rounds=2)
    assert entries(diary, 1) == ["a 1 10"] * 2


def test_every_contender_is_warmed_up_before_the_first_case(diary):
    one, other = (Contender(name, diarist, {"name": name, "diary": str(diary)}) for name in "ab")
    compare(suite(one, other), rounds=1)
    assert [line.split()[:2] for line in diary.read_text().splitlines()[:2]] == [["a", "0"], ["b", "0"]]


def test_a_slow_contender_does_less_and_is_marked_as_scaled(diary):
    slow = Contender("a", diarist, {"name": "a", "diary": str(diary)}, most=lambda case: 7 * case["n"])
    rows = compare(suite(slow), rounds=1)
    assert entries(diary, 1) == ["a 1 1", "a 1 1", "a 1 7"]
    assert entries(diary, 2) == ["a 2 1", "a 2 1", "a 2 10"]
    assert [(row["case"]["n"], row["amount"], row["scaled"]) for row in rows] == [
        (1, 10, True),
        (1, 100, True),
        (2, 10, False),
        (2, 100, True),
    ]
    assert rows[0]["counts"] == [1, 7]


def test_the_median_and_the_measures_stand_in_each_row():
    rows = compare(suite(Contender("a", sleeper, {"seconds": 0.001})), rounds=3)
    assert [len(row["seconds"]) for row in rows] == [3] * 4
    assert all(row["median"] == sorted(row["seconds"])[1] for row in rows)
    assert [row["measures"]["n"] for row in rows] == [1, 1, 2, 2]


def test_a_contender_leaves_a_case_when_its_allowance_is_used_up():
    slow, fast = (Contender(name, sleeper, {"seconds": wait}) for name, wait in [("slow", 0.2), ("fast", 0.0)])
    rows = compare(suite(slow, fast, allowance=lambda case: 0.3), rounds=4)
    assert [len(row["seconds"]) for row in rows if row["contender"] == "slow"] == [1] * 4
    assert [len(row["seconds"]) for row in rows if row["contender"] == "fast"] == [4] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets the peak of an earlier case")
def test_the_peak_of_memory_holds_the_data_and_the_run_and_nothing_of_the_contender_before():
    large, small = (Contender(name, hoarder, {"mebibytes": size}) for name, size in [("large", 64), ("small", 8)])
    rows = compare(suite(large, small), rounds=2)
    peaks = {row["contender"]: row["peak_bytes"] / 2**20 for row in rows}
    assert peaks["large"] == pytest.approx(128, abs=12)
    assert peaks["small"] == pytest.approx(16, abs=12)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (missing, "it is on holiday"),
        (not_installed, "No module named 'a_package_that_nobody_has'"),
        (broken, "it failed: ValueError: wrong sign"),
        (dying, "its process ended, perhaps for want of memory"),
    ],
)
def test_who_cannot_take_part_is_listed_with_the_reason_and_stops_nobody_else(factory, reason):
    rows = compare(suite(Contender("a", factory), Contender("b", sleeper, {"seconds": 0.0})), rounds=1)
    assert {row["absent"] for row in rows if row["contender"] == "a"} == {reason}
    assert [row["contender"] for row in rows if "absent" not in row] == ["b"] * 4


def test_the_judge_sees_the_last_output(diary):
    rows = compare(suite(Contender("a", diarist, {"name": "a", "diary": str(diary)}), judge=double), rounds=1)
    assert {row["notes"]["doubled"] for row in rows} == {200}


@pytest.mark.parametrize(
    ("most", "expected"), [(None, [5, 50]), (50, [5, 50]), (49, [1, 5]), (5, [1, 5]), (4, [1, 4]), (0, [1, 2])]
)
def test_counts_are_those_asked_for_or_one_and_the_most_that_is_allowed(most, expected):
    assert counts_to_run([5, 50], most) == expected


def test_scaling_counts_once_what_every_run_costs():
    def seconds(count):
        return 7.0 + 0.25 * count

    measured = {1: seconds(1), 40: seconds(40)}
    assert project(measured, 9999) == pytest.approx(seconds(9999))
    assert project(measured, 40) == measured[40]


def test_noise_cannot_scale_below_what_was_measured_and_makes_it_a_rough_guess():
    measured = {1: 2.0, 10: 1.5}
    assert project(measured, 1000) == 1.5
    assert is_rough([measured], 1000)
    assert not is_rough([measured], 10)


def test_one_bad_round_of_three_makes_no_rough_guess():
    good, bad = {1: 1.0, 10: 3.0}, {1: 4.0, 10: 3.0}
    assert not is_rough([good, bad, good], 1000)
    assert is_rough([bad, good, bad], 1000)


# The suites


def test_ratios_are_against_the_fastest_peer_and_not_against_ours():
    kinds = {
        "ours": (1.0, False, False),
        "quick peer": (30.0, True, False),
        "slow peer": (60.0, True, False),
        "unknown peer": (15.0, True, True),
    }
    rows = [
        {"contender": name, "median": median, "peer": peer, "rough": rough, "peak_bytes": 800, "measures": {}}
        for name, (median, peer, rough) in kinds.items()
    ]
    suites.measure_against_peers({"n": 10}, rows)
    assert [row["measures"].get("× fastest peer") for row in rows] == [30.0, 1.0, 0.5, None]
    assert {row["measures"].get("fastest peer") for row in rows} == {"quick peer", None}
    assert rows[0]["measures"]["matrices"] == 2.0


def test_both_engines_of_permanova_are_compared_with():
    row = {"peer": True, "rough": False, "peak_bytes": 0}
    usual = row | {"contender": "scikit-bio permanova", "median": 90.0, "measures": {}}
    compiled = row | {"contender": "scikit-bio permanova, numba", "median": 6.0, "measures": {}}
    ours = row | {"contender": "ours, shifts", "median": 2.0, "peer": False, "measures": {}}
    suites.measure_permutations({"n": 10}, [ours, usual, compiled])
    assert ours["measures"]["× fastest peer"] == 3.0
    assert ours["measures"]["× permanova"] == 45.0


def test_the_rate_counts_each_product_of_two_rows_once():
    row = {"peer": False, "rough": False, "peak_bytes": 0, "notes": {}}
    rows = [
        row | {"contender": suites.PRODUCT, "median": 2.0, "measures": {}},
        row | {"contender": "ours", "median": 4.0, "peak_bytes": 2**30 + 400, "measures": {}, "notes": {"Gram s": 1.0}},
        row | {"contender": "theirs", "median": 10.0, "measures": {}, "peer": True},
    ]
    suites.measure_wide({"n": 10, "d": 1000}, rows)
    product, ours, _ = (row["measures"] for row in rows)
    assert product["GFLOP/s"] == pytest.approx(2 * 10 * 10 * suites.PRODUCT_COLUMNS / 2.0 / 1e9)
    assert ours["GFLOP/s"] == pytest.approx((10 * 11 / 2) * 1000 * 2 / 4.0 / 1e9)
    assert ours["share of the rate"] == pytest.approx(ours["GFLOP/s"] / product["GFLOP/s"])
    assert ours["GiB beyond Gram"] == 1.0
    assert ours["× fastest peer"] == 2.5
    assert "× fastest peer" not in product  # which does other work


@pytest.mark.parametrize(("measured", "verdict"), [(40.0, "met"), (39.9, "missed"), (None, "not measured")])
def test_targets_are_judged_on_the_row_that_they_name(measured, verdict):
    target = suites.Target("permutations", suites.LARGE, "ours, shifts", 999, "× fastest peer", 40)
    row = {"suite": "permutations", "case": suites.LARGE, "contender": "ours, shifts", "amount": 999}
    others = [row | {"amount": 9999, "measures": {"× fastest peer": 1.0}}]
    found = [] if measured is None else [row | {"measures": {"× fastest peer": measured}}]
    assert suites.check_targets(others + found, (target,))[0]["verdict"] == verdict


def test_a_target_that_is_a_limit_is_met_from_below():
    target = suites.Target("gram", {}, "ours", 1, "GiB", 2, at_least=False)
    row = {"suite": "gram", "case": {}, "contender": "ours", "amount": 1, "measures": {"GiB": 2.1}}
    assert suites.check_targets([row], (target,))[0]["verdict"] == "missed"


def test_every_target_names_a_row_that_the_bench_has():
    for target in suites.TARGETS:
        suite = suites.SUITES[target.suite]
        assert target.case in suite.cases
        assert target.contender in [contender.name for contender in suite.contenders]
        assert target.amount in suite.amounts(target.case)


def test_only_the_cases_that_targets_name_are_taken_and_all_of_a_suite_without_targets():
    (large,) = suites.cases_of_targets(suites.PERMUTATIONS)
    assert large == suites.LARGE
    assert suites.cases_of_targets(suites.DISTANCES) == suites.DISTANCES.cases


def test_every_ratio_and_every_target_has_words():
    measures = {suite.ratio for suite in suites.SUITES.values()} | {target.measure for target in suites.TARGETS}
    assert measures <= set(suites.WORDS)


def test_the_naive_loop_computes_the_goodness(tmp_path):
    from helpers.separability import clustering_goodness

    case = {"n": 60, "classes": 3}
    suites.write_distances(case, tmp_path)
    distances, labels = suites.read_distances(tmp_path)
    np.testing.assert_array_equal(distances, distances.T)
    found = suites.naive_loop()(case, tmp_path)(5)
    random = np.random.default_rng(0)
    expected = [clustering_goodness(distances, random.permutation(labels)) for _ in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("condensed", [False, True])
def test_errors_of_distances_are_found_in_either_form(tmp_path, condensed):
    from scipy.spatial.distance import pdist, squareform

    case = {"n": 150, "d": 30}
    suites.write_features(case, tmp_path)
    exact = pdist(np.load(tmp_path / "features.npy").astype(np.float64))
    off = exact * np.where(exact < np.median(exact) / 10, 1.02, 1.001)  # the near copies by 2 %, the others by 0.1 %
    found = suites.judge_distances(case, tmp_path, off if condensed else squareform(off))
    assert found == pytest.approx({"error": 1e-3, "error of near copies": 0.02}, rel=1e-6)


@pytest.mark.parametrize("pairs", [1, 3, 4, 6, 4950])
def test_rows_have_at_least_the_pairs_asked_for(pairs):
    rows = suites.rows_of(pairs)
    assert math.comb(rows, 2) >= pairs > math.comb(rows - 1, 2)


def test_vegan_reads_the_same_matrix_and_finds_the_delta_that_ours_is(tmp_path):
    from helpers.separability import mrpp_moments

    alone = replace(suites.PERMUTATIONS, contenders=(Contender("vegan", suites.vegan, peer=True),), judge=keep_delta)
    row, _ = compare(alone, cases=(alone.tiny,), rounds=1)
    if "absent" in row:
        pytest.skip(row["absent"])
    suites.write_distances(alone.tiny, tmp_path)
    expected = mrpp_moments(*suites.read_distances(tmp_path)).delta
    assert row["notes"]["delta"] == pytest.approx(expected, rel=1e-6)


# The command


def test_the_command_writes_json_and_prints_the_same_tables_again(tmp_path, capsys):
    path = tmp_path / "bench.json"
    main(["distances", "--quick", "--rounds", "1", "--output", str(path)])
    printed = capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["quick"] is True
    assert {"date", "commit", "device", "cores", "backend", "versions"} <= set(found["machine"])
    assert found["machine"]["cores"] >= 1
    assert {row["contender"] for row in found["rows"]} == {"ours", "SciPy pdist", "scikit-learn euclidean_distances"}
    assert all(row["notes"]["error"] < 1e-3 for row in found["rows"])
    assert {target["verdict"] for target in found["targets"]} == {"not measured"}
    main(["--show", "--output", str(path)])
    again = capsys.readouterr().out
    assert again.strip()
    assert again.strip() in printed


# What is kept


MACHINE = {"device": "CPU, 2 cores", "processor": "one of ours", "cores": 2, "backend": "tensorflow"}
MACHINE |= {"date": "2026-01-02T03:04:05+00:00", "commit": "aaa", "versions": {"numpy": "2.0"}}
LATER = MACHINE | {"date": "2026-03-04T05:06:07+00:00", "commit": "bbb"}


def timed(case, ratio, contender="ours, shifts", amount=999, suite="permutations", **changes):
    row = {"suite": suite, "case": case, "contender": contender, "peer": False, "amount": amount, "unit": "pairs"}
    row |= {"seconds": [1.0, 3.0], "median": 2.0, "scaled": False, "rough": False, "counts": [amount]}
    return row | {"peak_bytes": 2**20, "notes": {}, "measures": {"× fastest peer": ratio}} | changes


def found(*rows, machine=MACHINE, **changes):
    return {"machine": machine, "quick": False, "rounds": 3, "seconds": 61.7, "rows": list(rows)} | changes


SMALL, LARGE = suites.PERMUTATIONS.cases[0], suites.LARGE


def test_a_kept_run_comes_back_with_its_machine_its_rows_and_its_verdicts(tmp_path):
    gone = {"suite": "permutations", "case": LARGE, "contender": "vegan mrpp", "peer": True, "amount": 999}
    gone |= {"unit": "permutations", "absent": "R is not there"}
    path = record(found(timed(LARGE, 41.0), gone), tmp_path)
    assert path.name == "cpu-2-cores.json"
    (kept,) = results.load_timings(tmp_path).values()
    assert kept.device == MACHINE["device"]
    told = {name: MACHINE[name] for name in ("commit", "processor", "cores", "backend", "versions")}
    assert kept.runs == {MACHINE["date"]: told | {"rounds": 3, "seconds": 62}}
    assert [row | {"run": MACHINE["date"]} for row in (timed(LARGE, 41.0), gone)] == kept.rows
    verdicts = {(target["contender"], target["amount"]): target["verdict"] for target in kept.targets[:4]}
    assert verdicts["ours, shifts", 999] == "met"
    assert verdicts["ours, shifts", 9999] == "not measured"


def test_a_later_run_replaces_the_cases_that_it_timed_and_leaves_the_others_their_date_and_commit(tmp_path):
    distances = timed(suites.DISTANCES.cases[0], 2.0, "ours", 499_500, "distances")
    old = [timed(SMALL, 1.0), timed(LARGE, 41.0), timed(LARGE, 1.0, "a peer that has gone"), distances]
    record(found(*old), tmp_path)
    record(found(timed(LARGE, 39.0), machine=LATER), tmp_path)
    (kept,) = results.load_timings(tmp_path).values()
    shown = [
        (row["suite"], row["case"]["n"], row["measures"]["× fastest peer"], kept.runs[row["run"]]["commit"])
        for row in kept.rows
    ]
    assert shown == [
        ("permutations", 1000, 1.0, "aaa"),
        ("permutations", 10_000, 39.0, "bbb"),
        ("distances", 1000, 2.0, "aaa"),
    ]
    assert kept.targets[0]["verdict"] == "missed"
    record(found(timed(SMALL, 5.0), distances, machine=LATER), tmp_path)
    (kept,) = results.load_timings(tmp_path).values()
    assert list(kept.runs) == [LATER["date"]]  # of the first run nothing is left


def test_devices_lie_side_by_side_and_no_chapter_is_among_them(tmp_path):
    record(found(timed(LARGE, 1.0)), tmp_path / "bench")
    record(found(timed(LARGE, 1.0), machine=MACHINE | {"device": "GPU, NVIDIA T4"}), tmp_path / "bench")
    assert list(results.load_timings(tmp_path / "bench")) == ["cpu-2-cores", "gpu-nvidia-t4"]
    assert results.load_recorded(tmp_path) == {}


def test_a_quick_run_is_not_kept(tmp_path):
    with pytest.raises(ValueError, match="record one without --quick"):
        record(found(timed(LARGE, 1.0), quick=True), tmp_path)
    assert list(tmp_path.iterdir()) == []


def without(name, key):
    """Return a change of what a file holds: in its rows or in its runs a key is missing."""

    def change(told):
        for described in told[name].values() if isinstance(told[name], dict) else told[name]:
            del described[key]

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (None, "Expecting value"),
        (lambda told: told.pop("rows"), "rows"),
        (lambda told: told["runs"].clear(), MACHINE["date"]),
        (without("rows", "median"), "a row without median"),
        (without("runs", "commit"), "a run without commit"),
        (without("suites", "title"), "a suite without title"),
        (without("targets", "verdict"), "a target without verdict"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence_and_left_as_it_is(change, what, tmp_path):
    path = record(found(timed(LARGE, 1.0)), tmp_path)
    told = json.loads(path.read_text())
    if change:
        change(told)
    text = json.dumps(told) if change else "<<<<<<< HEAD"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"cpu-2-cores\.json are damaged .*take back the file that git has") as raised:
        record(found(timed(LARGE, 2.0)), tmp_path)
    assert what in str(raised.value)
    assert path.read_text() == text


def test_the_command_keeps_each_suite_as_soon_as_it_has_run(tmp_path, monkeypatch, capsys):
    one = replace(suites.DISTANCES, contenders=(Contender("ours", sleeper, {"seconds": 0.0}),), note="")
    one = replace(one, cases=({"n": 1},), tiny={"n": 0}, make=write_size, judge=None, measure=note_case)
    broken_off = replace(one, make=stop)
    for known in (command.SUITES, suites.SUITES):
        monkeypatch.setitem(known, "distances", one)
        monkeypatch.setitem(known, "gram", broken_off)
    monkeypatch.setattr(report, "machine", lambda: MACHINE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        main(["distances", "gram", "--record", "--rounds", "1"])
    folder = tmp_path / "data" / "results" / "bench"
    assert [row["suite"] for row in results.load_timings(folder)["cpu-2-cores"].rows] == ["distances"]
    for path in folder.iterdir():
        path.unlink()
    main(["--show", "--record"])
    assert "kept in data/results/bench/cpu-2-cores.json" in capsys.readouterr().out
    assert [row["suite"] for row in results.load_timings(folder)["cpu-2-cores"].rows] == ["distances"]


def stop(case, folder):
    raise KeyboardInterrupt


def test_the_command_names_a_damaged_file_before_it_times_anything(tmp_path, monkeypatch):
    path = tmp_path / "data" / "results" / "bench" / "cpu-2-cores.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    monkeypatch.setattr(report, "machine", lambda: MACHINE)
    monkeypatch.setattr(command, "compare", stop)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"cpu-2-cores\.json are damaged"):
        main(["distances", "--record"])


def test_the_table_marks_what_is_scaled_what_is_fastest_and_who_is_absent():
    row = {"suite": "permutations", "case": suites.LARGE, "amount": 999, "unit": "permutations"}
    timed = {"seconds": [1.0], "counts": [1, 4], "peak_bytes": 2**20, "notes": {}, "rough": False}
    measures = {"× fastest peer": 1.0, "fastest peer": "slow"}
    rows = [
        row | timed | {"contender": "slow", "peer": True, "median": 123.4, "scaled": True, "measures": measures},
        row | timed | {"contender": "ours", "peer": False, "median": 0.0123, "scaled": False, "measures": measures},
        row | {"contender": "gone", "peer": True, "absent": "not installed"},
    ]
    where = {"date": "", "commit": "", "device": "", "cores": 2, "versions": {}}
    text = report.tables({"machine": where, "quick": False, "rows": rows, "targets": suites.check_targets(rows)})
    lines = [line.split() for line in text.splitlines()]
    assert next(line for line in lines if "~123" in line)[-7:-3] == ["slow", "*", "~123", "4"]
    assert "0.0123" in next(line for line in lines if "ours" in line)
    assert "absent: gone (not installed)" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["speed"], "there is no suite speed; there are: permutations, moments, distances, gram, extraction"),
        (["--quick", "--record"], "--quick says nothing about speed and is not recorded"),
        (["--rounds", "0"], "--rounds 0, but a median needs at least 1"),
        (["--show", "--output", "nothing.json"], "there is no nothing.json yet: run the bench first"),
    ],
)
def test_a_wrong_command_is_refused_in_one_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert sentence in capsys.readouterr().err
