"""The page on TPUs: its commands for a bucket, as they stand there."""

import dataclasses
import os
import sys

from tests.data.prepared import prepared
from tests.docs.pages import blocks, run
from tools.harness import ROOT


def test_the_commands_of_the_page_on_tpus(store, tmp_path):
    prepared(tmp_path / "tensorflow_datasets")
    store.make_bucket("tpu")
    environment = {
        **os.environ,
        "PATH": f"{ROOT / 'tests' / 'docs' / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "RIR_JAX_PYTHON": sys.executable,
        "XLA_FLAGS": "",
    }
    [block] = [block for block in blocks(ROOT / "docs" / "howto" / "tpu.md") if block.elsewhere]
    here = dataclasses.replace(block, code=block.code.replace("BUCKET", "tpu"))
    run([here], "tpu.md", ROOT, environment)
    objects = store.objects(bucket="tpu")
    assert {"run/summary.json", "rir.jax", "weights/model.safetensors"} <= set(objects)
