import sys
from pathlib import Path

# Its scripts find each other, as when Python runs one; behind tests/helpers, where names of theirs stand, too.
sys.path.append(str(Path(__file__).parents[2] / "bench"))
