"""Whole writes, whoever else writes the same file."""

from concurrent.futures import ThreadPoolExecutor

from rir_jax import files


def test_a_file_that_several_write_at_once_is_always_a_whole_one(tmp_path):
    path = tmp_path / "report" / "runs.json"
    contents = [bytes([number]) * 10_000 for number in range(4)]

    def write_often(content):
        for _ in range(50):
            files.write(path, content)
            assert files.read(path) in contents

    with ThreadPoolExecutor(len(contents)) as threads:
        list(threads.map(write_often, contents))
    assert [file.name for file in path.parent.iterdir()] == ["runs.json"]
