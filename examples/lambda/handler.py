from pathlib import Path

from embedge.serverless import load_handler

handler = load_handler(Path(__file__).with_name("bundle"))
