import type { FormField } from '../../logic/formFields.js';
import { Field } from './Field.js';

interface Props {
  field: FormField;
  value: string | boolean | undefined;
  fault?: string;
  onChange: (value: string | boolean) => void;
}

/** The control of one declared option; its sentence is the hint. */
export function OptionField({ field: { name, label, option, fallback }, value, fault, onChange }: Props) {
  if (option.kind === 'flag') {
    return (
      <label class="check">
        <input
          type="checkbox"
          checked={value === undefined ? option.default : value === true}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
        <span>
          {label}
          <span class="hint">{option.sentence}</span>
        </span>
      </label>
    );
  }
  const text = typeof value === 'string' ? value : '';
  const numeric = option.kind === 'integer' || option.kind === 'number';
  return (
    <Field label={label} hint={option.sentence} error={fault}>
      {(ids) =>
        option.kind === 'choice' ? (
          <select
            {...ids}
            name={name}
            value={text || option.default}
            onChange={(event) => onChange(event.currentTarget.value)}
          >
            {option.choices.map((choice) => (
              <option key={choice} value={choice}>
                {choice}
              </option>
            ))}
          </select>
        ) : (
          <input
            {...ids}
            name={name}
            type="text"
            inputMode={option.kind === 'integer' ? 'numeric' : numeric ? 'decimal' : undefined}
            value={text}
            placeholder={
              fallback === 'chosen by itself'
                ? `chosen for you${option.value && !numeric ? `, or ${option.value}` : ''}`
                : fallback
            }
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            onInput={(event) => onChange(event.currentTarget.value)}
          />
        )
      }
    </Field>
  );
}
