# Teach the model your own text: put yours in the list. Watch the loss fall; Stop ends it.
from edgenet import LoraConfig, TrainingConfig, open_model, plot

TEXTS = [
    '''def ledger_total(ledger, currency="EUR"):
    """Sum of the ledger's open entries in one currency."""
    return sum(entry.amount for entry in ledger.entries if entry.open)
''',
    '''def ledger_close(ledger, number):
    """Close an entry of the ledger."""
    entry = ledger.find(number)
    ledger.journal.append(("close", number))
    return entry
''',
]

model = await open_model("python-completion-7m-q8")
prompt = "def ledger_close(ledger, number):\n"
before = await model.generate(prompt, max_tokens=40, temperature=0)

trainer = model.create_trainer(
    TEXTS,
    LoraConfig(r=4, lora_alpha=8, target_modules=("q", "k", "v", "o")),
    TrainingConfig(max_steps=40, max_length=80, learning_rate=5e-3, warmup_steps=3, validation=0, seed=1),
)
losses = []
async for event in trainer:
    if event["kind"] == "step":
        losses.append(event["loss"])
        plot.lines({"loss": losses}, title="Training loss", x="step").show("loss")

await model.load_adapter(trainer.adapter("ledger"))
after = await model.generate(prompt, max_tokens=40, temperature=0, adapters="ledger")
print(f"loss {losses[0]:.2f} at first, {losses[-1]:.2f} at last\n")
print(f"# before\n{prompt}{before}\n")
print(f"# after\n{prompt}{after}")
await model.dispose()
