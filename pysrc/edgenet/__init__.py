"""EdgeNet: signed models that run, learn and stay in the browser. One pure-Python package for CPython and Pyodide.

What scripts use is here by name (docs/playground.md); each is imported when it is first asked for, so that `import edgenet` stays light.
"""

from importlib import import_module

__version__ = "0.1.0"

# name -> module that has it; None: the module of that name itself
_HOMES = {
    "open_model": "opening",
    "Language": "opened",
    "LanguageSession": "language",
    "InferenceSession": "session",
    "LoraConfig": "lora.config",
    "TrainingConfig": "lora.config",
    "PRESETS": "lora.config",
    "Trainer": "lora.trainer",
    "Adapter": "lora.adapter",
    "merge": "lora.merge",
    "MergeOptions": "lora.strategies",
    "EdgeNetError": "errors",
    "plot": None,
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'edgenet' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    home = _HOMES[name]
    found = import_module(f".{home or name}", __name__)
    return getattr(found, name) if home else found
