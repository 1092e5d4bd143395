"""What the engine's tests share: helper modules beside them can be imported, and random cases are the same each run."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# Derandomised: a red test is red for everybody, and a green one does not turn red on an unrelated change.
settings.register_profile("bounded", derandomize=True, deadline=None, max_examples=200, database=None)
settings.load_profile("bounded")
