"""What is kept of the comparison of tokenizers is what the page for other languages says of it."""

import json

from benchmarks.edge.strings import strings
from benchmarks.edge.token_ids import RESULTS


def test_the_file_gave_the_librarys_token_ids_for_all_ten_thousand_strings() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert sum(results["strings"].values()) == 10_000
    assert set(results["strings"]) == set(strings(1))
    assert set(results["differing"]["graph"].values()) == {0}


def test_the_file_gave_the_librarys_bits_on_other_cpus() -> None:
    rows = json.loads(RESULTS.with_name("single-file.json").read_text(encoding="utf-8"))["rows"]
    assert [row["machine"] for row in rows].count("aarch64") == 3
    assert len(rows) == 5
    assert all(all(row["same_bits"].values()) for row in rows)
