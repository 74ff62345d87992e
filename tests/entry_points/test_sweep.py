from ldc.sweep import main


def test_wrong_input_is_refused_in_a_sentence(refused, tmp_path):
    assert refused(main) == "sweep must be given, as sweep=VALUE."
    assert refused(main, f"sweep={tmp_path}/a=b, c.yaml").endswith("a=b, c.yaml' does not exist.")
    assert refused(main, "sweep=x.yaml", "count=0") == "count must be a whole number from 1, not 0."
    assert refused(main, "sweep=x.yaml", "seed=-1") == "seed must be a whole number from 0, not -1."


def test_the_help_says_how_to_start(command):
    assert any("sweep=launch/sweeps/embedded.yaml" in line for line in command(main, "--help").out)
