"""``langchain-openai``, which must be asked to send texts: else it sends token ids of another model's tokenizer."""

import json
import sys
from pathlib import Path

import numpy as np
from langchain_openai import OpenAIEmbeddings

case = json.loads(Path(sys.argv[1]).read_text())
expected = np.array(case["vectors"], np.float32)
embeddings = OpenAIEmbeddings(
    model=case["model"], base_url=f"{case['url']}/v1", api_key="unused", check_embedding_ctx_length=False
)
assert np.array_equal(np.array(embeddings.embed_documents(case["texts"]), np.float32), expected)
assert np.array_equal(np.array(embeddings.embed_query(case["texts"][0]), np.float32), expected[0])
