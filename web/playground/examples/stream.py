# Piece by piece, drawn at random: the same seed gives the same text, here and in CPython.
from edgenet import open_model

model = await open_model("python-completion-7m-q8")
for temperature in (0.4, 0.9):
    print(f"# temperature {temperature}")
    prompt = "class Stack:\n"
    print(prompt, end="")
    async for piece in model.stream(prompt, max_tokens=48, temperature=temperature, seed=7, stop_sequences=["\nclass"]):
        print(piece, end="")
    print("\n")
await model.dispose()
