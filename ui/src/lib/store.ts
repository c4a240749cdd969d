/** What was typed and not yet sent, kept for this tab: reloading, signing in again and Back find it again. A browser that keeps nothing only forgets. */
export function kept<T>(key: string): T | null {
  try {
    const found = window.sessionStorage.getItem(key);
    return found ? (JSON.parse(found) as T) : null;
  } catch {
    return null;
  }
}

export function keep(key: string, value: unknown): void {
  try {
    if (value === null) window.sessionStorage.removeItem(key);
    else window.sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Private windows may refuse; what is typed is then lost with the tab.
  }
}
