/** The versions that one passes on the way, in a list that is newest first: without where one begins, with where one ends; back, what is left behind. */
export function between<T extends { version: string }>(
  newestFirst: T[],
  from: string,
  to: string,
): { versions: T[]; back: boolean } {
  const start = newestFirst.findIndex((each) => each.version === from);
  const end = newestFirst.findIndex((each) => each.version === to);
  if (start < 0 || end < 0 || start === end) return { versions: [], back: false };
  const back = end > start;
  return { versions: newestFirst.slice(Math.min(start, end), Math.max(start, end)), back };
}
