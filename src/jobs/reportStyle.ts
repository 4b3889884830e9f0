/** The style of a report: no font, image or file from elsewhere; light and dark as the reader's system is; one column on a phone. */
export const reportStyle = `
:root {
  color-scheme: light dark;
  --page: #fdfcfa; --box: #f4f1ec; --line: #ddd6cc; --text: #221e19; --soft: #665d52; --accent: #9a4a16; --faint: #d9b294;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #171411; --box: #221e1a; --line: #3d362f; --text: #ede7df; --soft: #b3a89b; --accent: #eaa26c; --faint: #6e4b33; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 0.25rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 0.75rem; }
h3 { font-size: 1rem; margin: 0 0 0.25rem; }
p { margin: 0.5rem 0; }
.soft, figcaption, footer { color: var(--soft); font-size: 0.875rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 0.75rem; margin: 0; }
.tiles div { background: var(--box); border-radius: 0.5rem; padding: 0.6rem 0.8rem; }
.tiles dt { color: var(--soft); font-size: 0.875rem; }
.tiles dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tiles dd span { display: block; font-size: 0.875rem; color: var(--soft); }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.75rem 2rem; }
figure { margin: 0; min-width: 0; }
svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; overflow: visible; }
.grid { stroke: var(--line); stroke-width: 1; }
.tick { fill: var(--soft); }
.label { fill: var(--text); font-weight: 600; paint-order: stroke; stroke: var(--page); stroke-width: 3px; }
polyline { fill: none; stroke-linejoin: round; stroke-linecap: round; }
polyline.main { stroke: var(--accent); stroke-width: 2; }
polyline.faint { stroke: var(--faint); stroke-width: 1; }
.dot, .mark { fill: var(--accent); }
.dot.faint { fill: var(--faint); }
.mark { stroke: var(--page); stroke-width: 2; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.9rem 0.3rem 0; border-bottom: 1px solid var(--line); }
.figures th, .figures td { text-align: right; white-space: nowrap; }
.kept { background: var(--box); font-weight: 600; }
summary { cursor: pointer; margin: 1rem 0 0.5rem; }
article { border-top: 1px solid var(--line); padding: 1rem 0; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 0.75rem; }
h4 { font-size: 0.875rem; font-weight: 600; color: var(--soft); margin: 0.5rem 0 0.25rem; }
pre { margin: 0; padding: 0.6rem 0.8rem; background: var(--box); border-radius: 0.5rem; font: inherit; white-space: pre-wrap; }
.after pre { box-shadow: inset 3px 0 0 var(--accent); }
footer { margin-top: 3rem; }
`;
