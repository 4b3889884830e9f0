import { lexer, type Token, type Tokens } from 'marked';
import type { ComponentChildren } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { t } from '../../logic/language.js';
import { copyText } from '../browser.js';
import { Icon } from './layout.js';

/**
 * What a model writes as Markdown, drawn as elements of the page's own: the library only divides the text, and HTML in it is text like
 * any other. Pictures are never loaded.
 */

/** Deeper than that it is shown as written. */
const DEPTH = 12;

export function Markdown({ text }: { text: string }) {
  const tokens = useMemo(() => {
    try {
      return lexer(text);
    } catch {
      // Nested too deeply.
      return undefined;
    }
  }, [text]);
  if (!tokens) return <p class="prose">{text}</p>;
  return <div class="markdown">{blocks(tokens, 0)}</div>;
}

function blocks(tokens: readonly Token[], depth: number): ComponentChildren {
  return tokens.map((token, i) => <Block key={i} token={token} depth={depth + 1} />);
}

function Block({ token, depth }: { token: Token; depth: number }) {
  if (depth > DEPTH) return <p class="prose">{token.raw}</p>;
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'heading':
      return <p class={`heading heading-${(token as Tokens.Heading).depth}`}>{inline(token, depth)}</p>;
    case 'code':
      return <Code text={(token as Tokens.Code).text} lang={(token as Tokens.Code).lang} />;
    case 'blockquote':
      return <blockquote>{blocks((token as Tokens.Blockquote).tokens, depth)}</blockquote>;
    case 'hr':
      return <hr />;
    case 'list':
      return <List list={token as Tokens.List} depth={depth} />;
    case 'table':
      return <Table table={token as Tokens.Table} depth={depth} />;
    case 'paragraph':
      return <p>{inline(token, depth)}</p>;
    case 'text':
      return <>{inline(token, depth)}</>;
    default:
      return <p class="prose">{token.raw}</p>;
  }
}

function List({ list, depth }: { list: Tokens.List; depth: number }) {
  const items = list.items.map((item, i) => (
    <li key={i}>
      {item.task && (item.checked ? '☑ ' : '☐ ')}
      {blocks(
        item.tokens.filter(({ type }) => type !== 'checkbox'),
        depth,
      )}
    </li>
  ));
  return list.ordered ? <ol start={Number(list.start) || 1}>{items}</ol> : <ul>{items}</ul>;
}

function Table({ table, depth }: { table: Tokens.Table; depth: number }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
    <section class="table" aria-label={t('Table')} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {table.header.map((cell, i) => (
              <th key={i} scope="col">
                {inlines(cell.tokens, depth)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, i) => (
            <tr key={i}>
              {row.map((cell, j) => (
                <td key={j}>{inlines(cell.tokens, depth)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Code({ text, lang }: { text: string; lang?: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <figure class="code">
      <figcaption>
        <span>{lang}</span>
        <button type="button" class="link" onClick={() => void copyText(text).then(setCopied)}>
          {copied ? t('Copied') : t('Copy code')}
        </button>
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}

/** The inner tokens of one, or its text. */
function inline(token: Token, depth: number): ComponentChildren {
  const { tokens } = token as { tokens?: Token[] };
  return tokens ? inlines(tokens, depth) : plain((token as { text?: string }).text ?? token.raw);
}

function inlines(tokens: readonly Token[], depth: number): ComponentChildren {
  return tokens.map((token, i) => <Inline key={i} token={token} depth={depth + 1} />);
}

function Inline({ token, depth }: { token: Token; depth: number }) {
  if (depth > DEPTH) return <>{token.raw}</>;
  switch (token.type) {
    case 'strong':
      return <strong>{inline(token, depth)}</strong>;
    case 'em':
      return <em>{inline(token, depth)}</em>;
    case 'del':
      return <del>{inline(token, depth)}</del>;
    case 'codespan':
      return <code>{(token as Tokens.Codespan).text}</code>;
    case 'br':
      return <br />;
    case 'link':
      return <Link link={token as Tokens.Link} depth={depth} />;
    case 'image':
      return (
        <>
          <Icon name="eye" size={15} /> {(token as Tokens.Image).text || t('picture')} ({(token as Tokens.Image).href})
        </>
      );
    case 'text':
    case 'escape':
      return <>{inline(token, depth)}</>;
    default:
      return <>{token.raw}</>;
  }
}

/** Says where it leads, whatever its words are. */
function Link({ link, depth }: { link: Tokens.Link; depth: number }) {
  const { href, text } = link;
  if (!/^(https?:|mailto:)/i.test(href)) return <>{link.raw}</>;
  return (
    <>
      <a href={href} target="_blank" rel="noopener noreferrer">
        {inlines(link.tokens, depth)}
      </a>
      {text !== href && !href.endsWith(`:${text}`) && ` (${href})`}
    </>
  );
}

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  '#39': "'",
  nbsp: '\u00a0',
};

function plain(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (_, name: string) => entities[name]!);
}
