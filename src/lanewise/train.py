Trainer=None
