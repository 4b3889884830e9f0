import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { escapeHtml } from './curves.js';

describe('escapeHtml', () => {
  it('leaves no character that could begin or end anything, and loses none', () => {
    const text = `<script>alert("a" + 'b' && "</script>")</script> &amp; <!-- -->`;
    const escaped = escapeHtml(text);
    assert.doesNotMatch(escaped, /[<>"']|&(?!(amp|lt|gt|quot|#39);)/);
    const back = escaped
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&quot;', '"')
      .replaceAll('&#39;', "'")
      .replaceAll('&amp;', '&');
    assert.equal(back, text);
  });

  it('leaves other text alone, ends of lines too, and shows forbidden controls', () => {
    const text = 'grüße\n\tשלום 😀\r\n$1 $$';
    assert.equal(escapeHtml(text), text);
    assert.equal(escapeHtml('a\u0000b\u001bc\u0085d'), 'a\ufffdb\ufffdc\ufffdd');
  });
});
