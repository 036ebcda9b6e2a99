# Go on with a text. The model was trained from scratch on Python's library; nothing leaves this tab.
from edgenet import open_model

model = await open_model("python-completion-7m-q8")
prompt = "def __enter__(self):\n    return self\n\ndef __exit__("
print(prompt + await model.generate(prompt, max_tokens=24, temperature=0))

answer = model.last
print(f"\n{len(answer.tokens)} tokens; it ended because of: {answer.reason}")
await model.dispose()
