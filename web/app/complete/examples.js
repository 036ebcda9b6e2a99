/** Beginnings of Python to try the completion with, written for this purpose. */
export const EXAMPLES = {
  "A function": `def read_lines(path):
    """Return the lines of a text file without their ends."""
    with open(path, encoding="utf-8") as file:
        `,
  "A class": `class Stack:
    """Last in, first out."""

    def __init__(self):
        self.items = []

    def push(self, item):
        `,
  Arguments: `import argparse


def main():
    parser = argparse.ArgumentParser(description="Count the words of files")
    parser.add_argument(`,
  "A test": `import unittest


class SplitTest(unittest.TestCase):
    def test_empty_text(self):
        self.assert`,
};
