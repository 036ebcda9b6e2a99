/** The examples, in the order of their tabs; each is a file of the site that runs in CPython as it stands. Page. */
export const EXAMPLES = [
  { id: "generate", name: "Generate" },
  { id: "stream", name: "Stream" },
  { id: "train", name: "Train" },
  { id: "merge", name: "Merge" },
  { id: "search", name: "Search" },
];

/** @param {string} id @returns {Promise<string>} its code */
export async function exampleCode(id) {
  const url = new URL(`playground/examples/${id}.py`, document.baseURI);
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}. Reload the page.`);
  return answer.text();
}
