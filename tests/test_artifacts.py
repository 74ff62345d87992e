import threading

from ldc.artifacts import FILE, Artifact, find, publish


def test_an_artifact_that_is_taken_away_while_it_is_looked_for_is_none(tmp_path):
    artifact, over, errors = Artifact(tmp_path, "student", "0123", []), threading.Event(), []

    def look():
        while not over.is_set():
            try:
                find(tmp_path)
            except OSError as error:
                errors.append(error)

    other = threading.Thread(target=look)
    other.start()
    for _ in range(500):
        publish(artifact)
        (tmp_path / FILE).unlink()
    over.set()
    other.join()
    assert errors == []
