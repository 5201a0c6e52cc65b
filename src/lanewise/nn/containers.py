"""Lists and dicts of modules: their parameters belong to the module that holds them, forward() is the owner's."""
from .module import Module


def _module(owner, name, module):
    if not isinstance(module, Module):
        raise TypeError(f"{owner}: expected modules, got {type(module).__name__} as '{name}'")
    return module


class ModuleList(Module):
    """Modules by number, `ModuleList([a, b])`, for a forward() that calls them itself; keys "0.weight", "1.weight", ..."""

    def __init__(self, modules=()):
        super().__init__()
        self.extend(modules)

    def config(self):
        """Nothing: the modules are its own."""
        return {}

    def append(self, module):
        """Add a module at the end."""
        setattr(self, str(len(self)), _module("ModuleList", len(self), module))
        return self

    def extend(self, modules):
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self):
        return len(self._modules)

    def __getitem__(self, i):
        modules = list(self._modules.values())
        return ModuleList(modules[i]) if isinstance(i, slice) else modules[i]

    def __setitem__(self, i, module):
        setattr(self, list(self._modules)[i], _module("ModuleList", i, module))

    def __iter__(self):
        return iter(self._modules.values())


class ModuleDict(Module):
    """Modules by name, `ModuleDict({"a": module})`; keys "a.weight", ..."""

    def __init__(self, modules=None):
        super().__init__()
        for name, module in dict(modules or {}).items():
            self[name] = module

    def config(self):
        """Nothing: the modules are its own."""
        return {}

    def __setitem__(self, name, module):
        if not isinstance(name, str) or not name or "." in name or hasattr(type(self), name) or name == "training":
            raise KeyError(f"ModuleDict: expected a name that is no attribute and has no dot, got {name!r}")
        setattr(self, name, _module("ModuleDict", name, module))

    def __getitem__(self, name):
        return self._modules[name]

    def __contains__(self, name):
        return name in self._modules

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules)

    def keys(self):
        """The names."""
        return self._modules.keys()

    def values(self):
        """The modules."""
        return self._modules.values()

    def items(self):
        """(name, module)."""
        return self._modules.items()
