"""Lists and dicts of modules: their parameters belong to the module that holds them, forward() is the owner's."""
from __future__ import annotations

from typing import TYPE_CHECKING

from .module import Module

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
    from typing import Any
    from typing_extensions import Self


def _module(owner: str, name: Any, module: Any) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{owner}: expected modules, got {type(module).__name__} as '{name}'")
    return module


class ModuleList(Module):
    """Modules by number, `ModuleList([a, b])`, for a forward() that calls them itself; keys "0.weight", "1.weight", ..."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def config(self) -> dict[str, Any]:
        """Nothing: the modules are its own."""
        return {}

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        setattr(self, str(len(self)), _module("ModuleList", len(self), module))
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, i: Any) -> Any:
        modules = list(self._modules.values())
        return ModuleList(modules[i]) if isinstance(i, slice) else modules[i]

    def __setitem__(self, i: int, module: Module) -> None:
        setattr(self, list(self._modules)[i], _module("ModuleList", i, module))

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())


class ModuleDict(Module):
    """Modules by name, `ModuleDict({"a": module})`; keys "a.weight", ..."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        for name, module in dict(modules or {}).items():
            self[name] = module

    def config(self) -> dict[str, Any]:
        """Nothing: the modules are its own."""
        return {}

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str) or not name or "." in name or hasattr(type(self), name) or name == "training":
            raise KeyError(f"ModuleDict: expected a name that is no attribute and has no dot, got {name!r}")
        setattr(self, name, _module("ModuleDict", name, module))

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Module]:
        """(name, module)."""
        return self._modules.items()
