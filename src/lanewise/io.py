load=save=None
