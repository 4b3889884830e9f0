/** Light or dark: as the device says, unless the person chose. */
export type Theme = 'auto' | 'light' | 'dark';

const key = 'loam-theme';

export function getTheme(): Theme {
  try {
    const kept = localStorage.getItem(key);
    return kept === 'light' || kept === 'dark' ? kept : 'auto';
  } catch {
    return 'auto';
  }
}

export function setTheme(theme: Theme): void {
  try {
    if (theme === 'auto') localStorage.removeItem(key);
    else localStorage.setItem(key, theme);
  } catch {
    // Then it holds for this page only.
  }
  applyTheme(theme);
}

export function applyTheme(theme: Theme = getTheme()): void {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
