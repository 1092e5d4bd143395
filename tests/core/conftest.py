"""What the engine's tests share: random cases that are the same on every run."""

from hypothesis import settings

# Derandomised: a red test is red for everybody, and a green one does not turn red on an unrelated change.
settings.register_profile("bounded", derandomize=True, deadline=None, max_examples=200, database=None)
settings.load_profile("bounded")
