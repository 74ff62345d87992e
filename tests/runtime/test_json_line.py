import json
import math
from pathlib import Path

from ldc.runtime.entry import json_line


def test_what_json_cannot_say_is_null():
    line = json_line({"kid": math.nan, "rows": [math.inf, -math.inf, 1.5]})
    assert json.loads(line, parse_constant=lambda name: f"not JSON: {name}") == {"kid": None, "rows": [None, None, 1.5]}


def test_it_is_one_line_and_paths_are_text():
    assert json_line({"run": Path("a") / "b", "text": "one\ntwo"}) == '{"run": "a/b", "text": "one\\ntwo"}'
