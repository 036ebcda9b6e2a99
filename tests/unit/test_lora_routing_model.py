"""Routing with the real embedding model: the threshold tells requests that an adapter is for from others. CPython only."""

import pytest

from edgenet.lora.routing import learned, route

TEXTS = {
    "recipes": [
        "Beat the eggs with sugar until pale and fold in the flour.",
        "Simmer the onions in butter for twenty minutes.",
        "Let the dough rise in a warm place for an hour.",
        "Roast the pumpkin at 200 degrees until soft.",
        "Season the soup with nutmeg and a little cream.",
        "Knead for ten minutes and shape into loaves.",
    ],
    "python": [
        "def read(path): return open(path).read()",
        "Use a dict comprehension to invert the mapping.",
        "The test fails because the fixture is created twice.",
        "import numpy as np; x = np.zeros((3, 4))",
        "Raise ValueError when the argument is negative.",
        "A generator yields values lazily.",
    ],
    "law": [
        "The tenant shall pay the rent on the first day of each month.",
        "Either party may terminate this agreement with thirty days notice.",
        "Liability is limited to direct damages.",
        "The court held that the contract was void.",
        "This clause survives termination.",
        "The defendant denies all allegations.",
    ],
}
REQUESTS = {
    "recipes": [
        "How long do I bake a plum cake?",
        "What goes into a good tomato sauce?",
        "my bread is too dense",
        "vegetarian dinner for two",
    ],
    "python": [
        "how do I sort a list of tuples by the second item",
        "why does my unit test not find the module",
        "write a function that counts words",
        "what does yield do",
    ],
    "law": [
        "can my landlord raise the rent?",
        "draft a non-disclosure agreement",
        "what happens if I break a contract",
        "is a verbal agreement binding",
    ],
    None: [
        "What is the capital of Peru?",
        "hello",
        "the train to Hamburg was late again",
        "tell me about black holes",
        "my knee hurts when I run",
        "write a poem about autumn",
    ],
}


@pytest.mark.parametrize(("want", "request_"), [(want, text) for want, texts in REQUESTS.items() for text in texts])
def test_with_the_real_embedding_model_a_request_goes_where_it_belongs(embed, want, request_):
    profiles = {name: learned(None, embed(texts), texts) for name, texts in TEXTS.items()}
    found = route(embed([request_])[0], profiles)
    assert (found[0][0] if found else None) == want
