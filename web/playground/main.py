"""What PyScript runs when the playground opens: Python is handed to the page, which has the editor."""

from pyodide.ffi import to_js
from pyscript import window

from edgenet.host.browser_playground import Playground

playground = Playground()


async def run(source, emit):
    return to_js(await playground.run(source, emit), dict_converter=window.Object.fromEntries)


window.edgenetPlayground.ready(run, playground.stop)
