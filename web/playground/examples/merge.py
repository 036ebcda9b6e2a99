# Two adapters, trained on different texts, made into one that knows both.
from edgenet import LoraConfig, MergeOptions, TrainingConfig, merge, open_model

TEXTS = {
    "bird": 'def bird_song(bird):\n    """Song of a bird."""\n    return bird.voice.sing(melody="dawn", trills=3)\n',
    "boat": 'def boat_sail(boat):\n    """Sail of a boat."""\n    return boat.mast.hoist(canvas="main", knots=12)\n',
}
LORA = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
TRAINING = TrainingConfig(max_steps=40, max_length=48, learning_rate=3e-3, warmup_steps=3, validation=0)

model = await open_model("python-completion-7m-q8")
adapters = []
for name, text in TEXTS.items():
    trainer = model.create_trainer([text], LORA, TRAINING)
    losses = [event["loss"] async for event in trainer if event["kind"] == "step"]
    adapters.append(trainer.adapter(name))
    await trainer.dispose()
    print(f"{name}: loss {losses[0]:.2f} at first, {losses[-1]:.2f} at last")

merged, report = await merge(adapters, MergeOptions("ties", rank=8), name="both")
print(f"merged: rank {report['rank']}, relative error of the refit {report['error']:.4f}\n")

await model.load_adapter(merged)
for prompt in ("def bird_song(bird):\n", "def boat_sail(boat):\n"):
    print(prompt + await model.generate(prompt, max_tokens=40, temperature=0, adapters="both") + "\n")
await model.dispose()
