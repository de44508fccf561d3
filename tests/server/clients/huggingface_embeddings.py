"""``huggingface_hub.InferenceClient``, given a server's address as its model."""

import json
import sys
from pathlib import Path

import numpy as np
from huggingface_hub import InferenceClient

case = json.loads(Path(sys.argv[1]).read_text())
expected = np.array(case["vectors"], np.float32)
for address in (case["url"], f"{case['url']}/embed"):
    client = InferenceClient(address)
    assert np.array_equal(client.feature_extraction(case["texts"]), expected)
    row = client.feature_extraction(case["texts"][0], normalize=True, truncate=True, truncation_direction="right")
    assert np.array_equal(row, expected[:1])
