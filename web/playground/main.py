"""What PyScript runs when the playground opens: Python is handed to the page, which has the editor."""

from pyodide.ffi import to_js
from pyscript import window

from edgenet.host.browser_playground import Playground

playground = Playground()


def run(source, emit):
    return answer(playground.run(source, emit))


async def answer(ended):
    return to_js(await ended, dict_converter=window.Object.fromEntries)


window.edgenetPlayground.ready(run, playground.stop)
