/**
 * Which controls of the page a finger cannot press where they are drawn: the middle of each is pressed, once it was scrolled to. And
 * what is cut or broken by large text: words within which a line ends, and controls whose text does not fit. Runs in the page; returns
 * findings.
 */
export const pressableInPage = `(() => {
  const found = [];
  const show = (element) => element.outerHTML.replace(/<svg.*?<\\/svg>/gs, '').slice(0, 140);
  const top = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
  const controls = 'a[href], button, input:not([type=hidden]), select, textarea, summary';
  for (const element of top.querySelectorAll(controls)) {
    if (!element.checkVisibility({ visibilityProperty: true }) || element.matches('.skip') || element.closest('[hidden]')) continue;
    element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
    const { left, right, top, bottom } = element.getBoundingClientRect();
    const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    const label = element.closest('label');
    if (!hit || !(element.contains(hit) || hit.contains(element) && hit === element.parentElement || label?.contains(hit))) {
      found.push('not reached: ' + show(element) + ' but ' + (hit ? show(hit) : 'nothing'));
    }
    if (element.matches('a.button, button') && element.scrollWidth > element.clientWidth + 1) found.push('cut: ' + show(element));
  }
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) found.push('wider than the window by ' + wide);
  const texts = document.createTreeWalker(top === document ? document.body : top, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    if (!node.parentElement.checkVisibility() || node.parentElement.closest('pre, code, option, .unseen, .prose, .nav')) continue;
    for (const { 0: word, index } of node.data.matchAll(/\\p{L}{2,14}/gu)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
      if (lines.size > 1) found.push('broken: ' + word + ' in ' + show(node.parentElement));
    }
  }
  return found;
})()`;
