/** Small decisions about what people type. */

/** Whether the name was typed as it is. Blanks around it come from pasting; another case is another name. */
export function isTyped(text: string, name: string): boolean {
  return text.trim() === name;
}

/** One word for a shell. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
