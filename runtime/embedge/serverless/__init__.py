"""A bundle as a function of AWS Lambda: events in, vectors in OpenAI's dialect out.

``embedge pack lambda`` writes the package and its handler file, which is::

    from pathlib import Path
    from embedge.serverless import load_handler
    handler = load_handler(Path(__file__).with_name("bundle"))

It needs the three packages of the base install only. :mod:`.events` reads the kinds of events, :mod:`.body` what they
ask for, :mod:`.handler` answers.
"""

import os

# A BLAS with a thread for each CPU takes memory and time at its import; embedge multiplies no matrices with it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from embedge.serverless.handler import Handler, load_handler

__all__ = ["Handler", "load_handler"]
