/** Whether every word is somewhere in the label: “cache up” finds “WowCache: upgrade”. */
export function matching(words: string, label: string): boolean {
  const text = label.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .filter(Boolean)
    .every((word) => text.includes(word));
}

/** The keys of the whole page. A single letter is no key while somebody types. */
export function keyOf(
  event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey">,
  typing: boolean,
): "palette" | "help" | null {
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey) return "palette";
  if (event.key === "?" && !typing && !event.ctrlKey && !event.metaKey) return "help";
  return null;
}
