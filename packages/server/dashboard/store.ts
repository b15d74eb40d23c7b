/** What the browser keeps; one that keeps nothing for this page is as good as one that has nothing yet. */
export function kept(area: 'localStorage' | 'sessionStorage', key: string): string | null {
  try {
    return window[area].getItem(key)
  } catch {
    return null
  }
}

/** @param value null: it is forgotten */
export function keep(area: 'localStorage' | 'sessionStorage', key: string, value: string | null): void {
  try {
    if (value === null) window[area].removeItem(key)
    else window[area].setItem(key, value)
  } catch {
    // It lasts as long as the page, then.
  }
}
