import pytest

from ldc.runtime.words import check_words


@pytest.mark.parametrize(
    "words",
    [
        ["+experiment=bksdm", "~stages.evaluate", "prompt=red apple", "steps=[1, 2]"],
        ["--cfg", "job", "-m", "seed=0,1", "--config-dir", "folder", "--config-dir=folder", "--help"],
        ["data.path=/data/{00000..00002}.tar"],
        ["seed=0", "seed=1", "document=a.md", "document=null"],  # the last one counts, as scripts rely on
    ],
)
def test_legal_words_pass(words):
    check_words(words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prompt=red", "apple"], "Words must be KEY=VALUE, not 'apple': a value with spaces needs quotes"),
        (["bksdm"], "Words must be KEY=VALUE, not 'bksdm'"),
        (["--dry-run"], "Options must be KEY=VALUE, as in dry_run=true, or one of Hydra's flags, not '--dry-run'"),
        (["--num-images=4"], "as in num_images=4, or one of Hydra's flags, not '--num-images=4'"),
        ([f"data.path=/{i}.tar" for i in range(3)], "data.path must be given once, not 3 times: braces need quotes"),
    ],
)
def test_others_are_one_sentence(words, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_words(words)
