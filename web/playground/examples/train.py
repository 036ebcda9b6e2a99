# Teach the model your own text: put yours between the quotes. Watch the loss fall; Stop ends it.
from edgenet import LoraConfig, TrainingConfig, open_model, plot

TEXT = '''
def ledger_total(ledger, currency="EUR"):
    """Sum of the ledger's open entries in one currency."""
    return sum(entry.amount for entry in ledger.entries if entry.open and entry.currency == currency)


def ledger_close(ledger, entry_id):
    """Close an entry of the ledger; the entry, or None where there is none."""
    entry = ledger.find(entry_id)
    if entry is not None and entry.open:
        entry.open = False
        ledger.journal.append(("close", entry_id))
    return entry
'''

model = await open_model("python-completion-7m-q8")
prompt = "def ledger_"
before = await model.generate(prompt, max_tokens=32, temperature=0)

trainer = model.create_trainer(
    [TEXT],
    LoraConfig(r=4, lora_alpha=8, target_modules=("q", "k", "v", "o")),
    TrainingConfig(max_steps=30, max_length=64, learning_rate=5e-3, warmup_steps=3, validation=0, seed=1),
)
losses = []
async for event in trainer:
    if event["kind"] == "step":
        losses.append(event["loss"])
        plot.lines({"loss": losses}, title="Training loss", x="step").show("loss")

await model.load_adapter(trainer.adapter("ledger"))
after = await model.generate(prompt, max_tokens=32, temperature=0, adapters="ledger")
print(f"loss {losses[0]:.2f} at first, {losses[-1]:.2f} at last\n")
print(f"before: {prompt}{before}\n")
print(f"after:  {prompt}{after}")
await model.dispose()
