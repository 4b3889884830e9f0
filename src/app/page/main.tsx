import { render } from 'preact';
import { App } from './App.js';
import { takeToken } from './session.js';
import { applyTheme } from './theme.js';

takeToken();
// The link may be followed while the page is open already: then only the fragment changes.
addEventListener('hashchange', () => {
  if (!location.hash.includes('token=')) return;
  takeToken();
  location.reload();
});
applyTheme();
render(<App />, document.getElementById('app')!);
