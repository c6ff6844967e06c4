/** What this browser remembers. Storage may be forbidden or full: then it forgets, and nothing else fails. */

export function remembered(key: string): string | null {
  try {
    return localStorage.getItem(`hemline.${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(`hemline.${key}`, value);
  } catch {
    // It is forgotten.
  }
}
