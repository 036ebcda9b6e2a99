# Go on with a text. The model was trained from scratch on Python's library; nothing leaves this tab.
from edgenet import open_model

model = await open_model("python-completion-7m-q8")
prompt = "def read_lines(path):\n"
print(prompt + await model.generate(prompt, max_tokens=40, temperature=0))

answer = model.last
print(f"\n{len(answer.tokens)} tokens; it ended because of: {answer.reason}")
await model.dispose()
