"""A page around the Python worker: a language worker that is NumpyEngine over a small model, and storage in memory. CPython and Pyodide."""

import json

import numpy as np

from edgenet.errors import EdgeNetError, InvalidOption, KernelTrap, KeyUntrusted, QuotaExceeded
from edgenet.graph.program import Program
from edgenet.host import browser_lora, browser_train
from edgenet.trust import SIGN_ADAPTER, Revocations, Trust, check_signature
from tests.ed25519_reference import verify as ed25519
from tests.unit.lora_runs import loaded, run
from tests.unit.small_adapters import base

NAME = "qwen2"
MODEL = {"key": "m@1", "filenames": {"model": "m.gguf"}, "sha256": "0" * 64}
GENERATION = {"bos": None, "addBos": False, "eos": [2], "chatTemplate": None}


class PlayedPage:
    """Answers what Python asks. `breaking`: runs of `train` after which the engine is another one; `full`: storage takes nothing more.

    `stopped`: whoever called wants it no more; `room` for a file, in bytes; `made`: what is written of it; `whole`: all of it.
    """

    def __init__(self, storage=None):
        self.kept, self.events, self.asked = {} if storage is None else storage, [], []
        self.engine, self.added = run(loaded(NAME)), set()
        self.breaking, self.full, self.on_event, self.line = [], False, lambda event: None, "one"
        self.trust, self.revoked, self.now = Trust({}), (), 0  # whom the site believes, when
        self.stopped, self.room, self.made, self.whole = False, 1 << 30, None, None

    # --- what the tests do
    def call(self, kind, binary=None, **args):
        """The answer. Raises the error that was answered."""
        answer = run(self.calling(kind, binary, **args))
        return answer

    async def calling(self, kind, binary=None, **args):
        given = {"line": self.line, "json": json.dumps({"model": MODEL, **args}), "binary": binary}
        answer = await browser_lora.answer(kind, given, self.ask, self.hear, lambda: self.stopped)
        if "error" in answer:
            raise EdgeNetError.from_data(answer["error"])
        result = dict(answer["result"])
        return (json.loads(result.pop("json")) or {}) | result

    def hear(self, text):
        self.events.append(json.loads(text))
        self.on_event(self.events[-1])

    def of(self, kind):
        return [event for event in self.events if event.get("kind") == kind]

    def reloaded(self):
        """Another page over the same storage."""
        browser_train.LIVE.clear()
        return PlayedPage(self.kept)

    # --- what Python asks
    async def ask(self, kind, args):
        self.asked.append(kind)
        try:
            return {"result": await getattr(self, kind.replace(".", "_"))(**args)}
        except EdgeNetError as error:
            return {"error": json.dumps(error.to_data())}

    async def lm_source(self, ranges=()):
        data = base(NAME)
        return {"sizes": {"model": len(data)}, "parts": [data[at : at + size] for _, at, size in ranges]}

    async def lm_generation(self):
        return json.dumps(GENERATION)

    async def lm_encode(self, text, special=False):
        return {"tokens": [100 + b for b in text.encode()]}

    async def lm_tokens(self, asked):
        lists = [self.told(one) for one in json.loads(asked)]
        return {"ids": np.array(sum(lists, []), np.int32), "counts": np.array([len(ids) for ids in lists], np.int32)}

    def told(self, one):
        """The tokens of a text; of a chat, as a template would write it."""
        return [100 + b for b in one.encode()]

    async def lm_add(self, programs):
        await self.engine.add({name: Program.from_json(text) for name, text in programs.items()})
        self.added |= set(programs)

    async def lm_drop(self, names):
        self._require(*names)
        await self.engine.drop(names)
        self.added -= set(names)

    async def lm_write(self, program, name, array):
        self._require(program)
        await self.engine.write(name, array, program=program)

    async def lm_read(self, program, name):
        self._require(program)
        return await self.engine.read(name, program=program)

    async def lm_run(self, program, slots):
        self._require(program)
        if program == "train" and self.breaking:
            self.breaking[0] -= 1
            if self.breaking[0] < 0:
                self.breaking.pop(0)
                self.engine, self.added = await loaded(NAME), set()
                raise KernelTrap("the engine trapped")
        await self.engine.run(program=program, **slots)

    def _require(self, *names):
        if missing := set(names) - self.added:
            raise InvalidOption(f"There is no Program {missing}", option="program")

    async def store_list(self, prefix):
        return [key for key in self.kept if key.startswith(prefix)]

    async def store_get(self, key):
        return self.kept.get(key)

    async def store_put(self, key, data):
        if self.full:
            raise QuotaExceeded("The store has no room left.")
        self.kept[key] = bytes(data)

    async def store_delete(self, key):
        self.kept.pop(key, None)

    async def trust_signed(self, payload, signature):
        revocations = Revocations(keys=frozenset(self.revoked))
        try:
            key = await check_signature(payload, signature, self.trust, revocations, SIGN_ADAPTER, self.now, ed25519)
        except KeyUntrusted:
            return {"keyId": ""}
        return {"keyId": key.key_id}

    async def made_begin(self, name, bytes):
        if bytes > self.room:
            raise QuotaExceeded(f"There is no room for {bytes} bytes.")
        self.made, self.whole = bytearray(), None

    async def made_write(self, data):
        self.made += data

    async def made_end(self):
        self.whole, self.made = bytes(self.made), None

    async def made_drop(self):
        self.made = None
