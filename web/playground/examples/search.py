# Texts become vectors; near in meaning is near in direction.
import numpy as np

from edgenet import open_model

NOTES = [
    "The boiler in the cellar is serviced every October.",
    "The plum cake needs an hour in the oven.",
    "Her train to Vienna leaves from platform nine.",
    "The cat sleeps on the warm radiator all winter.",
]
QUESTION = "When does somebody look after the heating?"

model = await open_model("minilm-l6-v2-q8")
notes = await model.embed_batch(NOTES)  # NumPy, one row of length 1 per text
question = await model.embed(QUESTION)

scores = notes @ question
for i in np.argsort(-scores):
    print(f"{scores[i]:.3f}  {NOTES[i]}")
await model.dispose()
