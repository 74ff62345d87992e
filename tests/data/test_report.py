"""The report on skipped samples."""

import json

import pytest

from ldc.data.report import SkipReport


def test_counts_are_whole_while_names_stop_at_their_number():
    report = SkipReport(num_names=2)
    for key in "abc":
        report.skip("corrupt image", key)
    assert report.counts == {"corrupt image": 3}
    assert report.names == {"corrupt image": ["a", "b"]}


def test_share_up_to_the_limit_passes_and_past_it_is_one_sentence():
    report = SkipReport(limit=0.25)
    report.keep(3)
    report.skip("corrupt image", "a")
    report.check()
    report.skip("missing caption", "b")
    entries = "2 of 5: corrupt image 1, missing caption 1"
    sentence = f"the share of skipped samples must be at most 0.25, not 0.4 ({entries})."
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole text is compared
        report.check()
    assert str(caught.value) == sentence


def test_empty_report_passes():
    SkipReport(limit=0).check()


def test_dropped_sample_moves_from_kept_to_skipped():
    report = SkipReport()
    report.keep(4)
    report.drop("corrupt image", "a")
    assert (report.kept, report.skipped, report.share) == (3, 1, 0.25)


def test_merged_reports_add_up():
    first, second = SkipReport(num_names=2), SkipReport(num_names=2)
    for report, key in ((first, "a"), (second, "b")):
        report.keep()
        report.skip("corrupt image", key)
    second.skip("corrupt image", "c")
    first.merge(second)
    assert (first.kept, first.counts["corrupt image"], first.names["corrupt image"]) == (2, 3, ["a", "b"])


def test_written_report_reads_back(tmp_path):
    report = SkipReport(limit=0.5)
    report.keep(3)
    report.skip("truncated tar", "a.tar")
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["names"] == {"truncated tar": ["a.tar"]}
    assert SkipReport.read(tmp_path / "report.json", limit=0.5).to_json() == report.to_json()


def test_limit_outside_a_share_is_refused():
    with pytest.raises(ValueError, match=r"a share from 0 to 1, not 10\.$"):
        SkipReport(limit=10)
