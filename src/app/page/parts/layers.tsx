import { useId } from 'preact/hooks';
import type { LayerChoice } from '../../../base/options.js';
import { type FormField, layersInWords, readForm } from '../../logic/formFields.js';
import { t } from '../../logic/language.js';
import { roughly, size } from '../../logic/words.js';
import type { Quoted } from './run.js';

interface LayersFieldProps {
  field: FormField;
  /** As an option is typed: "top:8", "all", or nothing where it is left to the run. */
  value: string;
  quoted: Quoted;
  onChange: (value: string) => void;
}

/**
 * How many layers are adapted, counted from the top, and what that takes. Where nothing is chosen it stands where the run itself would
 * put it.
 */
export function LayersField({ field, value, quoted, onChange }: LayersFieldProps) {
  const id = useId();
  const { quote, waiting, modelLayers: all } = quoted;
  const chosen = readForm([field], { layers: value }).options.layers as LayerChoice | undefined;
  // Until a quote has told of this model, the last one may be another's.
  const choice = chosen ?? (quote && all !== undefined ? { top: quote.layers } : undefined);
  const words = choice ? layersInWords(choice, all) : t('automatic');
  const cost = waiting
    ? '…'
    : quote && t('{time}, {memory} of memory', { time: roughly(quote.seconds), memory: size(quote.memoryBytes) });
  return (
    <div class="field">
      <label for={id}>{field.label}</label>
      {all !== undefined && choice && (
        <input
          id={id}
          type="range"
          name={field.name}
          min={1}
          max={all}
          value={choice === 'all' ? all : Math.min(choice.top, all)}
          aria-valuetext={words}
          aria-describedby={`${id}-hint`}
          onInput={(event) => {
            const top = Number(event.currentTarget.value);
            onChange(top === all ? 'all' : `top:${top}`);
          }}
        />
      )}
      <p class="layers-chosen">
        <span>
          {chosen || !choice ? words : t('{layers} (automatic)', { layers: words })}
          {cost && `: ${cost}`}
        </span>
        {value !== '' && (
          <button type="button" class="link" onClick={() => onChange('')}>
            {t('Back to automatic')}
          </button>
        )}
      </p>
      <p class="hint" id={`${id}-hint`}>
        {field.line}
      </p>
    </div>
  );
}
