"""The operations that the engine can run, one stem per kernel family. Each knows its shape and emits its instructions."""
