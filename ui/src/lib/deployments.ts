/** What the states of a deployment mean for the page. */
const OVER = new Set(["completed", "rolled_back", "cancelled", "failed"]);

export function isOver(status: string): boolean {
  return OVER.has(status);
}
