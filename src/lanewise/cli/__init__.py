"""The command `lanewise`: a file for each of its commands, beside what they share."""
from . import completion, evaluate, export, info, predict, profile, sets, train
from .machine import cpu_name
from .main import main

__all__ = ["cpu_name", "main"]

for command in (train.train, evaluate.evaluate, predict.predict, export.export, profile.profile, sets.data, info.info,
                completion.completion):
    main.add_command(command)
