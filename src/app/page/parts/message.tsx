import { useState } from 'preact/hooks';
import { number, t } from '../../logic/language.js';
import { call } from '../api.js';
import { copyText } from '../browser.js';
import { tellChanged, useAction, useServer } from '../server.js';
import type { Talk } from '../talk.js';
import { IconButton } from './controls.js';
import { Feedback, Thought } from './conversation.js';
import { Fault, Icon } from './layout.js';
import { Markdown } from './markdown.js';

/** What was said, and what can be done with it; an answer while it is given. */

interface SaidProps {
  talk: Talk;
  at: number;
  /** Who answers. */
  who: string;
  /** The data set that an example goes to by default. */
  dataset?: string;
  onEdit: () => void;
  onAgain: () => void;
  onGoOn: () => void;
}

export function Said({ talk, at, who, dataset, onEdit, onAgain, onGoOn }: SaidProps) {
  const message = talk.messages[at]!;
  const isLast = at === talk.messages.length - 1;
  const isIdle = talk.answer === undefined;
  if (message.role === 'system') return null;
  if (message.role !== 'assistant') {
    return (
      <li class="message user">
        <span class="unseen">{t('You:')} </span>
        <p class="prose">{message.content}</p>
        <div class="message-actions">
          <CopyButton text={message.content} />
          {isIdle && <IconButton icon="edit" size={18} label={t('Edit this question')} onClick={onEdit} />}
          {isIdle && isLast && <IconButton icon="again" size={18} label={t('Ask again')} onClick={onAgain} />}
        </div>
      </li>
    );
  }
  return (
    <li class="message assistant">
      <span class="unseen">{who}: </span>
      <Thought text={message.reasoning} />
      <Markdown text={message.content} />
      {message.cut && <p class="cut">{t('This answer was cut off.')}</p>}
      <div class="message-actions">
        <CopyButton text={message.content} />
        {isIdle && isLast && <IconButton icon="again" size={18} label={t('Answer anew')} onClick={onAgain} />}
        {at > 0 && (
          <Feedback
            key={message.content}
            name={`${talk.id}/${at}/${message.content.length}`}
            prompt={talk.messages[at - 1]!.content}
            answer={message.content}
            dataset={dataset}
            said={talk.id === undefined ? undefined : { conversation: talk.id, message: at }}
            mark={message}
            onRated={() => void talk.reload()}
          />
        )}
        {isIdle && isLast && message.cut && (
          <button type="button" class="button small" onClick={onGoOn}>
            {t('Go on')}
          </button>
        )}
      </div>
      {isLast && talk.speed && talk.speed.seconds > 0 && (
        <p class="quiet speed">
          {t('{tokens} tokens, {speed} a second', {
            tokens: talk.speed.tokens,
            speed: number(talk.speed.tokens / talk.speed.seconds, 1),
          })}
        </p>
      )}
    </li>
  );
}

function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <IconButton
      icon={copied ? 'check' : 'copy'}
      size={18}
      label={copied ? t('Copied') : t('Copy')}
      onClick={() => void copyText(text).then(setCopied)}
    />
  );
}

/** The answer that is being given, after its question. */
export function Streaming({ talk }: { talk: Talk }) {
  const { answer } = talk;
  if (!answer) return null;
  const { question, text, thought, goesOn } = answer;
  return (
    <>
      {question !== undefined && (
        <li class="message user">
          <span class="unseen">{t('You:')} </span>
          <p class="prose">{question}</p>
        </li>
      )}
      <li class="message assistant">
        <Thought text={thought} open={text === ''} />
        {text === '' ? <p class="prose thinking">…</p> : <Markdown text={goesOn ? `… ${text}` : text} />}
        <WhySlow />
      </li>
    </>
  );
}

/** A true reason why it takes long, where there is one. */
function WhySlow() {
  const { job } = useServer();
  const { busy, error, run } = useAction();
  if (job?.state !== 'running') return null;
  const pause = () =>
    run(async () => {
      await call('POST', `/api/jobs/${job.id}/pause`, { body: {} });
      tellChanged('jobs');
    });
  return (
    <div class="note warn">
      <Icon name="warn" />
      <div>
        <p>{t('Learning is going on, so answers come slowly. Nothing of it is lost if you pause it.')}</p>
        <button type="button" class="button small" disabled={busy} onClick={() => void pause()}>
          <Icon name="pause" size={18} /> {t('Pause learning')}
        </button>
        <Fault error={error} />
      </div>
    </div>
  );
}
