"""The compiled modules, for type checkers: whatever they are asked for."""
from typing import Any

def __getattr__(name: str) -> Any: ...
